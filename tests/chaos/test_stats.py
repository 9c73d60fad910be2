"""Three workers, one killed, one restarted: the crawl's stats are what the site has seen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from crawlo_scrapy.store.client import Address, Client
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.stats import Stats
from crawlo_scrapy.values import Codec
from tests.chaos.fleet import Fleet
from tests.chaos.site import ChaosSite
from tests.store.background import Background
from tests.waiting import wait_until

pytestmark = [pytest.mark.chaos, pytest.mark.slow]

PAGES = 600
#: CONCURRENT_REQUESTS of the spider.
CONCURRENCY = 8
PATIENCE = 120


@pytest.fixture
def background() -> Iterator[Background]:
    background = Background()
    yield background
    background.close()


def totals(background: Background, redis_url: str, fleet: Fleet) -> dict[str, Any]:
    async def read() -> dict[str, Any]:
        client = Client.connect(Address(url=redis_url))
        try:
            return await Stats(client, keys_of(fleet), Codec()).totals()
        finally:
            await client.close()

    return background(read())


def keys_of(fleet: Fleet) -> Keys:
    return Keys(fleet.project, "chaos", "run")


def test_totals_are_what_the_site_has_seen(
    tmp_path: Path, redis_url: str, background: Background
) -> None:
    settings = {
        "CRAWLO_STATS_INTERVAL": 0.2,
        "CRAWLO_WORKER_TIMEOUT": 3,
        "CRAWLO_HEARTBEAT_INTERVAL": 0.5,
    }
    with (
        ChaosSite(pages=PAGES, delay=0.1) as site,
        Fleet(tmp_path, redis_url, "-a", f"url={site.url}", **settings) as fleet,
    ):

        def seen() -> dict[str, int]:
            return {
                "downloader/request_count": sum(site.requests.values()),
                "downloader/response_count": site.answered,
                "item_scraped_count": sum(fleet.items().values()),
            }

        def counted() -> dict[str, int]:
            found = totals(background, redis_url, fleet)
            return {key: found.get(key, 0) for key in seen()}

        fleet.start(3)
        wait_until(lambda: len(fleet.items()) > PAGES // 4, "the crawl runs", PATIENCE)
        # What a worker counted since its last write dies with it. So all stand still, each with
        # as many requests under way as it may have, until all that was counted is written.
        site.hold()
        wait_until(lambda: site.waiting == 3 * CONCURRENCY, "everybody waits", PATIENCE)
        wait_until(lambda: counted() == seen(), "all that was counted is written", PATIENCE)
        fleet.workers[0].kill()
        wait_until(lambda: site.waiting == 2 * CONCURRENCY, "the site has noticed", PATIENCE)
        fleet.start()
        site.release()
        fleet.wait(PATIENCE)

        assert counted() == seen()
        assert len(fleet.items()) == len(site.requests) == PAGES
        # Each page was done once, though what the dead worker had under way was asked for twice.
        meta = redis.Redis.from_url(redis_url).hgetall(keys_of(fleet).meta)
        assert int(meta[b"acked"]) == PAGES
        assert 0 < site.fetched_twice <= 2 * CONCURRENCY
        assert fleet.reasons() == {"finished": 3}
