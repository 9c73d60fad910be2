"""One crawl whose workers and whose Redis die, stop and come back. No page may be lost."""

from __future__ import annotations

import random
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.delayproxy import DelayProxy
from crawlo_scrapy.localserver import LocalRedis
from tests.chaos.fleet import Fleet
from tests.chaos.site import ChaosSite
from tests.waiting import wait_until

pytestmark = [pytest.mark.chaos, pytest.mark.slow]

#: Between two blows, in seconds.
PAUSE = 3.0
PREFETCH = 4 * 8
#: Generous, for machines that others use too.
PATIENCE = 240


@pytest.fixture
def site() -> Iterator[ChaosSite]:
    with ChaosSite(pages=5000, delay=0.2) as site:
        yield site


def complete(fleet: Fleet, site: ChaosSite) -> bool:
    time.sleep(0.2)  # reading the items over and over would slow the workers down
    return len(fleet.items()) == site.pages


def started(fleet: Fleet) -> bool:
    return len(fleet.items()) > 100


def check_finished(fleet: Fleet, site: ChaosSite) -> None:
    """Wait for all pages; then all workers must close as finished."""
    wait_until(lambda: complete(fleet, site), "every page has its item", PATIENCE)
    living = len(fleet.alive)
    fleet.wait(30)
    assert len(fleet.items()) == site.pages
    assert fleet.reasons()["finished"] >= living


def test_workers_killed(tmp_path: Path, redis_url: str, site: ChaosSite) -> None:
    kills = 10
    choice = random.Random(1)
    with Fleet(tmp_path, redis_url, "-a", f"url={site.url}") as fleet:
        fleet.start(4)
        wait_until(lambda: started(fleet), "the crawl runs", PATIENCE)
        for _ in range(kills):
            time.sleep(PAUSE)  # the rhythm of the blows, nothing waits for it
            choice.choice(fleet.alive).kill()
            fleet.start()
        check_finished(fleet, site)
        assert site.fetched_twice <= kills * (8 + PREFETCH)
        assert not fleet.errors()


def test_zombies(tmp_path: Path, redis_url: str, site: ChaosSite) -> None:
    """A worker that is suspended for longer than the time-out comes back and carries on."""
    choice = random.Random(2)
    deaths = 0

    def taken_over(fleet: Fleet) -> bool:
        nonlocal deaths
        seen = "".join(log.read_text() for log in fleet.logs).count("counts as dead")
        if seen == deaths:
            return False
        deaths = seen
        return True

    quick = {"CRAWLO_WORKER_TIMEOUT": 2, "CRAWLO_HEARTBEAT_INTERVAL": 0.5}
    with Fleet(tmp_path, redis_url, "-a", f"url={site.url}", **quick) as fleet:
        fleet.start(4)
        wait_until(lambda: started(fleet), "the crawl runs", PATIENCE)
        for _ in range(3):
            number = choice.randrange(4)
            log = fleet.logs[number]
            lives = log.read_text().count("it goes on as")
            fleet.workers[number].send_signal(signal.SIGSTOP)
            wait_until(lambda: taken_over(fleet), "others notice")
            fleet.workers[number].send_signal(signal.SIGCONT)
            wait_until(
                lambda log=log, lives=lives: log.read_text().count("it goes on as") > lives,
                "it notices too",
            )
        check_finished(fleet, site)
        assert not fleet.errors()


def test_terminated_workers_fetch_nothing_twice(
    tmp_path: Path, redis_url: str, site: ChaosSite
) -> None:
    choice = random.Random(3)
    with Fleet(tmp_path, redis_url, "-a", f"url={site.url}") as fleet:
        fleet.start(4)
        wait_until(lambda: started(fleet), "the crawl runs", PATIENCE)
        for _ in range(5):
            time.sleep(PAUSE)
            choice.choice(fleet.alive).terminate()
            fleet.start()
        check_finished(fleet, site)
        assert site.fetched_twice == 0
        assert not fleet.errors()


def test_second_ctrl_c(tmp_path: Path, redis_url: str) -> None:
    """It ends a worker at once, as in Scrapy; others take over what it had."""
    with (
        ChaosSite(pages=400, delay=1.0) as site,
        Fleet(tmp_path, redis_url, "-a", f"url={site.url}") as fleet,
    ):
        fleet.start(2)
        wait_until(lambda: len(fleet.items()) > 20, "the crawl runs", PATIENCE)
        worker, log = fleet.workers[0], fleet.logs[0]
        for word in ("Send again to force", "forcing unclean shutdown"):
            worker.send_signal(signal.SIGINT)
            wait_until(lambda word=word: word in log.read_text(), word)
        worker.wait(PATIENCE)
        check_finished(fleet, site)


def test_redis_killed(tmp_path: Path, site: ChaosSite) -> None:
    """With appendfsync everysec the last second is gone; the crawl goes back and repeats it."""
    with (
        LocalRedis(aof=True, config={"appendfsync": "everysec"}) as server,
        Fleet(tmp_path, server.url, "-a", f"url={site.url}") as fleet,
    ):
        fleet.start(4)
        wait_until(lambda: started(fleet), "the crawl runs", PATIENCE)
        for _ in range(3):
            time.sleep(PAUSE)
            server.kill()
            server.start()
        check_finished(fleet, site)
        assert not fleet.errors()


def test_redis_away_for_30_seconds(
    tmp_path: Path, redis_server: LocalRedis, site: ChaosSite
) -> None:
    with (
        DelayProxy(redis_server.port) as proxy,
        Fleet(tmp_path, f"redis://127.0.0.1:{proxy.port}", "-a", f"url={site.url}") as fleet,
    ):
        fleet.start(4)
        wait_until(lambda: started(fleet), "the crawl runs", PATIENCE)
        proxy.cut()
        time.sleep(30)
        proxy.restore()
        check_finished(fleet, site)
        logs = "".join(log.read_text() for log in fleet.logs)
        assert logs.count("cannot be reached") == 4  # said once by each worker
        assert logs.count("Redis is back after") == 4
        assert not fleet.errors()


def test_taken_up_within_20_seconds(tmp_path: Path, redis_url: str) -> None:
    """With default settings; a promise of the documentation."""
    with (
        ChaosSite(pages=400, delay=0.3) as site,
        Fleet(tmp_path, redis_url, "-a", f"url={site.url}") as fleet,
    ):
        fleet.start(2)
        wait_until(lambda: started(fleet), "the crawl runs", PATIENCE)
        fleet.workers[0].kill()
        killed = time.monotonic()
        survivor = fleet.logs[1]
        wait_until(
            lambda: re.search("counts as dead; [0-9]+ of its", survivor.read_text()),
            "the survivor takes over",
            PATIENCE,
        )
        assert time.monotonic() - killed < 20
        check_finished(fleet, site)
