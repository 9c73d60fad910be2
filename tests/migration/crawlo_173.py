"""Writes crawlo_173.json: queues and filter as Crawlo 1.7.3's own classes leave them in Redis.

    python -m venv venv && venv/bin/pip install crawlo==1.7.3
    venv/bin/python tests/migration/crawlo_173.py redis://127.0.0.1:6379/15

The database that is named must be empty; it is empty again afterwards.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import redis.asyncio as aioredis
from crawlo import Request
from crawlo.filters.aioredis_filter import AioRedisFilter
from crawlo.queue.backends.redis_priority import RedisPriorityQueue
from crawlo.queue.backends.redis_stream import RedisStreamQueue
from crawlo.spider import Spider

PROJECT = "old"


class ShopSpider(Spider):
    name = "shop"

    def parse(self, response):
        """Callbacks are known by their names."""

    def parse_product(self, response):
        """Another one."""


def requests():
    spider = ShopSpider()
    site = "http://a.test"
    yield Request(f"{site}/1", callback=spider.parse)
    yield Request(f"{site}/2?b=2&a=1", callback=spider.parse, params={"page": 3, "q": "ä"})
    yield Request(f"{site}/3", callback=spider.parse_product, json_body={"a": [1, "ä"]})
    form = {"user": "u", "word": "ä b"}
    yield Request(f"{site}/4", callback=spider.parse, method="POST", form_data=form)
    yield Request(f"{site}/5", callback=spider.parse, method="PUT", body="raw ä")
    yield Request(
        f"{site}/6", callback=spider.parse_product, priority=200, meta={"depth": 3, "n": [1]},
        cb_kwargs={"k": "v"}, flags=["f"], encoding="latin-1",
    )  # fmt: skip
    yield Request(f"{site}/7", callback=spider.parse, priority=-100)
    yield Request(f"{site}/1", callback=spider.parse, dont_filter=True)
    yield Request(
        f"{site}/8", callback=spider.parse, auth=("u", "p"), proxy="http://p.test:8", timeout=9,
        allow_redirects=False, verify=False,
    )  # fmt: skip
    yield Request(f"{site}/9", callback=spider.parse, headers={"X-Key": "1"}, cookies={"c": "d"})
    yield Request(f"{site}/no-callback")


async def main(url):
    server = aioredis.from_url(url)
    assert await server.dbsize() == 0, "this database is not empty"
    found = {}
    queues = {
        "stream-json": RedisStreamQueue(url, PROJECT, "shop", serialization_format="json"),
        "stream-pickle": RedisStreamQueue(
            url, PROJECT, "shop", serialization_format="pickle", stream_compact=False,
            priority_enabled=False,
        ),
        "zset-pickle": RedisPriorityQueue(url, project_name=PROJECT, spider_name="shop"),
        "zset-msgpack": RedisPriorityQueue(
            url, project_name=PROJECT, spider_name="shop", serialization_format="msgpack"
        ),
    }  # fmt: skip
    for name, queue in queues.items():
        await queue.connect()
        stats = SimpleNamespace(inc_value=lambda *_: None)
        seen = AioRedisFilter(f"crawlo:{PROJECT}:shop:dedup:request", server, stats)
        expected = []
        for request in requests():
            if request.dont_filter or not await seen.requested_async(request):
                expected.append(facts(request, seen))
                await queue.put(request, request.priority)
        if "stream" in name:
            # One is done and gone, one is in the hands of a worker.
            done, receipt = await queue.get_with_receipt(1)
            await queue.ack(receipt)
            expected = [one for one in expected if one["url"] != done.url or one["dont_filter"]]
            await queue.get_with_receipt(1)
        found[name] = {"requests": expected, "keys": await dump(server)}
        await queue.close()
        await server.flushdb()
    text = json.dumps(found, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    Path(__file__).with_suffix(".json").write_text(text, "utf-8")
    await server.aclose()


def facts(request, seen):
    return {
        "url": request.url, "method": request.method, "body": (request.body or b"").decode(),
        "priority": -request.priority, "dont_filter": request.dont_filter,
        "fingerprint": seen._get_fingerprint(request),
    }  # fmt: skip


async def dump(server):
    keys = {}
    for key in sorted(await server.keys("*")):
        kind = (await server.type(key)).decode()
        if kind == "stream":
            entries = [
                {name.decode(): coded(value) for name, value in fields.items()}
                for _, fields in await server.xrange(key)
            ]
        elif kind == "zset":
            entries = [
                [name.decode(), score]
                for name, score in await server.zrange(key, 0, -1, withscores=True)
            ]
        elif kind == "hash":
            entries = {
                name.decode(): coded(value) for name, value in (await server.hgetall(key)).items()
            }
        elif kind == "set":
            entries = sorted(member.decode() for member in await server.smembers(key))
        else:
            raise AssertionError(f"{key} is a {kind}")
        keys[key.decode()] = {"type": kind, "entries": entries}
    return keys


def coded(value):
    return base64.b64encode(value).decode()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
