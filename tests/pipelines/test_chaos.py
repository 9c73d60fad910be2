"""A crawl whose workers and whose database die. Each item must be stored exactly once."""

from __future__ import annotations

import asyncio
import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.chaos.fleet import Fleet
from tests.chaos.site import ChaosSite
from tests.pipelines.test_faults import Mongo, MySQL
from tests.waiting import wait_until

pytestmark = [pytest.mark.chaos, pytest.mark.slow]

PAGES = 5000
#: Between two blows, in seconds.
PAUSE = 3.0
BLOWS = 8
SPIDER = Path(__file__).with_name("chaos_spider.py")


def mysql_settings(server):
    return {
        "ITEM_PIPELINES": '{"crawlo_scrapy.pipelines.MySQLPipeline": 300}',
        "MYSQL_HOST": server.host, "MYSQL_PORT": server.port, "MYSQL_USER": server.user,
        "MYSQL_PASSWORD": server.password, "MYSQL_DB": server.database,
        "MYSQL_TABLE": "pages", "MYSQL_CREATE_TABLE": True,
    }  # fmt: skip


def mongodb_settings(server):
    return {
        "ITEM_PIPELINES": '{"crawlo_scrapy.pipelines.MongoPipeline": 300}',
        "MONGO_URI": server.uri, "MONGO_DB": server.database, "MONGO_COLLECTION": "pages",
        "MONGO_UPSERT_KEY": "url",
    }  # fmt: skip


def stored(kind, server):
    """Return the URLs that are stored. In a thread: the reactor runs in this one."""
    with ThreadPoolExecutor() as thread:
        rows = thread.submit(asyncio.run, kind.stored(server, "pages", "url")).result()
    return [row["url"] for row in rows]


@pytest.mark.parametrize(("kind", "settings"), [(MySQL, mysql_settings), (Mongo, mongodb_settings)])
def test_workers_and_database_killed(kind, settings, tmp_path, redis_url):
    choice = random.Random(1)
    with (
        ChaosSite(pages=PAGES, delay=0.2) as site,
        kind.servers() as server,
        Fleet(
            tmp_path, redis_url, "-a", f"url={site.url}", spider=SPIDER, **settings(server)
        ) as fleet,
    ):
        fleet.start(4)
        wait_until(lambda: len(site.requests) > 100, "the crawl runs", 60)
        for blow in range(BLOWS):
            time.sleep(PAUSE)  # the rhythm of the blows, nothing waits for it
            if blow % 2:
                server.kill()
                choice.choice(fleet.alive).kill()
                server.start()
            else:
                choice.choice(fleet.alive).kill()
            fleet.start()
        living = len(fleet.alive)
        fleet.wait(240)
        found = stored(kind, server)
        assert len(found) == len(set(found)) == PAGES
        assert fleet.reasons()["finished"] >= living
        assert not (tmp_path / "dead_items").exists()
        if kind is MySQL:  # pymongo waits out a short outage by itself
            assert any("is away, items wait" in log.read_text() for log in fleet.logs)
