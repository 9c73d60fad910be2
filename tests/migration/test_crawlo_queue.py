"""Queues that Crawlo 1.4 has written. Its class is stood for by one that pickles alike."""

from __future__ import annotations

import pickle
import sys
import types

import pytest

from tests.backends import client_of
from tests.crawling import Peek
from tests.migration.test_scrapy_redis_queue import moved

#: The attributes of crawlo.network.request.Request, in __slots__, as 1.4.6 has them.
SLOTS = (
    "_url", "_meta", "callback", "cb_kwargs", "err_back", "headers", "body", "method", "cookies",
    "priority", "encoding", "dont_filter", "timeout", "proxy", "allow_redirects", "auth", "verify",
    "flags", "_json_body", "_form_data", "_params", "use_dynamic_loader", "dynamic_loader_options",
)  # fmt: skip


@pytest.fixture
def crawlos_request(monkeypatch):
    """What makes a request of Crawlo's."""
    cls = type("Request", (), {"__slots__": SLOTS, "__module__": "crawlo.network.request"})
    for name in ("crawlo", "crawlo.network", "crawlo.network.request"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    sys.modules["crawlo.network.request"].Request = cls

    def make(url, method_name="parse", spider_class="ShopSpider", **more):
        request = cls()
        info = {"spider_class": spider_class, "method_name": method_name}
        values = {
            "_url": url, "_meta": {"_callback_info": info, "depth": 1}, "callback": None,
            "cb_kwargs": {}, "headers": {}, "body": None, "method": "GET", "cookies": {},
            "priority": 0, "encoding": "utf-8", "dont_filter": False, "timeout": None,
            "proxy": None, "allow_redirects": True, "auth": None, "verify": True, "flags": [],
            "_json_body": None, "_form_data": None, "_params": None, "use_dynamic_loader": False,
            "dynamic_loader_options": {}, **more,
        }  # fmt: skip
        for name, value in values.items():
            setattr(request, name, value)
        return request

    return make


@pytest.fixture
def queue(redis_url, project):
    key = f"crawlo:{project}:queue:requests"
    yield key
    client = client_of(redis_url)
    for name in client.scan_iter(f"*{project}*queue*"):
        client.delete(name)


def put(client, queue, name, request, score=0):
    client.zadd(queue, {name: score})
    client.hset(f"{queue}:data", name, pickle.dumps(request))


def words(some_crawl, queue, *more):
    return ["migrate", "crawlo", "shop", "--queue-key", queue, *some_crawl.words, "--json", *more]


def test_queued_and_in_hand(crawlo, some_crawl, queue, crawlos_request):
    client = client_of(some_crawl.url)
    for n in range(600):
        put(client, queue, f"n{n}", crawlos_request(f"http://a.test/{n}"), n % 2)
    put(client, queue, "full", crawlos_request(
        "http://b.test/", method="POST", body=b"x", headers={"X": "y"}, cookies={"a": "b"},
        proxy="http://p", timeout=9, auth=("u", "p"), allow_redirects=False, dont_filter=True,
    ), -3)  # fmt: skip
    put(client, queue, "other", crawlos_request("http://c.test/", spider_class="Other"))
    put(client, queue, "hostile", print)
    client.zadd(queue, {"without": 0})
    processing = queue.replace(":requests", ":processing")
    client.zadd(processing, {"h1:1": 1})
    client.hset(f"{processing}:data", "h1:1", pickle.dumps(crawlos_request("http://a.test/held")))
    tried = moved(crawlo(*words(some_crawl, queue, "--dry-run")))
    done = moved(crawlo(*words(some_crawl, queue)))
    assert {**done, "dry_run": True} == tried
    assert (done["entries"], done["queued"], done["dead"]) == (605, 602, 3)
    assert not [*client.scan_iter(f"*{queue.split(':')[1]}:queue*")]
    peek = Peek(some_crawl.url, "shop", "shop", some_crawl.keys.names[2])
    queued = peek.queued()
    assert len(set(queued)) == len(queued) == 602
    assert "http://a.test/held" in queued
    [element] = peek.redis.lrange(peek.keys.queue("b.test", "3"), 0, -1)
    assert b"Basic dTpw" in element
    assert b"dont_redirect" in element
    assert peek.redis.llen(peek.keys.queue("a.test", "-1")) == 300


def test_nothing_there(crawlo, some_crawl, queue):
    done = moved(crawlo(*words(some_crawl, queue)))
    assert done["entries"] == 0
    assert not Peek(some_crawl.url, "shop", "shop", some_crawl.keys.names[2]).all_keys()
