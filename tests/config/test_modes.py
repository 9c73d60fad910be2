from __future__ import annotations

import logging

import pytest
from scrapy.downloadermiddlewares.retry import RetryMiddleware
from scrapy.settings import default_settings

from crawlo_scrapy.config import modes
from crawlo_scrapy.connection import seen_choice
from crawlo_scrapy.localserver import LocalRedis
from crawlo_scrapy.settings import SettingError
from crawlo_scrapy.store.errors import StoreUnavailable
from crawlo_scrapy.store.seen import SeenChoice
from tests.config.support import final
from tests.servers import default_redis

OURS = "crawlo_scrapy.scheduler.RedisScheduler"
SCRAPYS = default_settings.SCHEDULER
MINE = "scrapy.spidermiddlewares.base.BaseSpiderMiddleware"
SEED = "crawlo_scrapy.spidermiddlewares.SeedMiddleware"


@pytest.fixture
def redis(monkeypatch):
    """Whether Redis answers; asked or not."""
    state = {"answers": True, "asked": 0}

    def answers(settings):
        state["asked"] += 1
        reason = f"Redis at {settings.get('REDIS_HOST')} does or does not answer"
        if not state["answers"]:
            raise StoreUnavailable(reason)
        return reason

    monkeypatch.setattr(modes, "redis_answers", answers)
    return state


@pytest.mark.parametrize(
    ("values", "scheduler"),
    [
        ({}, OURS),
        ({"RUN_MODE": "distributed"}, OURS),
        ({"RUN_MODE": "standalone"}, SCRAPYS),
        ({"RUN_MODE": "Standalone"}, SCRAPYS),
        ({"CRAWLO_MODE": "standalone"}, SCRAPYS),
        ({"QUEUE_TYPE": "memory"}, SCRAPYS),
        ({"QUEUE_TYPE": "redis"}, OURS),
        ({"QUEUE_TYPE": "redis_stream"}, OURS),
        ({"RUN_MODE": "standalone", "QUEUE_TYPE": "redis"}, OURS),
        ({"RUN_MODE": "standalone", "QUEUE_TYPE": "auto"}, SCRAPYS),
    ],
)
def test_mode_chooses_components(values, scheduler, redis):
    settings = final(values)
    assert settings["SCHEDULER"] == scheduler
    assert (SEED in settings["SPIDER_MIDDLEWARES"]) == (scheduler == OURS)
    assert settings["CONCURRENT_ITEMS"] == (8 if scheduler == OURS else 100)
    assert redis["asked"] == 0


def test_the_higher_place_decides(redis):
    assert final({"QUEUE_TYPE": "redis"}, spider={"RUN_MODE": "standalone"})["SCHEDULER"] == SCRAPYS


@pytest.mark.parametrize("values", [{"RUN_MODE": "auto"}, {"QUEUE_TYPE": "auto"}])
@pytest.mark.parametrize("answers", [True, False])
def test_auto_asks_redis_and_says_which_and_why(values, answers, redis, caplog):
    caplog.set_level(logging.INFO)
    redis["answers"] = answers
    settings = final({**values, "REDIS_HOST": "h"})
    assert settings["SCHEDULER"] == (OURS if answers else SCRAPYS)
    (line,) = [r.message for r in caplog.records if "Run mode auto" in r.message]
    assert ("the shared crawl" if answers else "Scrapy's own components") in line
    assert "Redis at h" in line


def test_redis_that_is_not_there(caplog):
    caplog.set_level(logging.INFO)
    settings = final({"RUN_MODE": "auto", "REDIS_PORT": 1, "REDIS_PASSWORD": "hunter2"})
    assert settings["SCHEDULER"] == SCRAPYS
    assert "Redis at 127.0.0.1:1/0 cannot be reached" in caplog.text
    assert "hunter2" not in caplog.text


def test_redis_that_refuses_is_worth_a_warning(caplog):
    with LocalRedis(binary=default_redis(), password="right") as server:
        settings = final({"RUN_MODE": "auto", "REDIS_PORT": server.port, "REDIS_PASSWORD": "wr0ng"})
    assert settings["SCHEDULER"] == SCRAPYS
    [record] = [r for r in caplog.records if "Run mode auto" in r.message]
    assert record.levelno == logging.WARNING
    assert "REDIS_PASSWORD" in record.message and "wr0ng" not in record.message


def test_redis_that_is_there(redis_server, caplog):
    caplog.set_level(logging.INFO)
    settings = final({"RUN_MODE": "auto", "REDIS_URL": redis_server.url})
    assert settings["SCHEDULER"] == OURS
    assert "answers" in caplog.text


def test_seed_middleware_is_outermost_and_the_users_stay():
    from scrapy.core.spidermw import SpiderMiddlewareManager

    settings = final({"SPIDER_MIDDLEWARES": {MINE: 10}})
    paths = SpiderMiddlewareManager._get_mwlist_from_settings(settings)
    assert paths[0] == SEED
    assert MINE in paths


def test_user_may_turn_a_component_off():
    assert final({"SPIDER_MIDDLEWARES": {SEED: None}})["SPIDER_MIDDLEWARES"][SEED] is None


def test_standalone_overrules_an_explicit_scheduler_of_the_same_place():
    settings = final({"SCHEDULER": OURS, "RUN_MODE": "standalone"})
    assert settings["SCHEDULER"] == SCRAPYS
    settings = final({"RUN_MODE": "standalone"}, cmdline={"SCHEDULER": OURS})
    assert settings["SCHEDULER"] == OURS


class TestFilter:
    ours = "crawlo_scrapy.dupefilter.RedisDupeFilter"

    @pytest.mark.parametrize(
        "values",
        [
            {"FILTER_CLASS": "crawlo.filters.aioredis_filter.AioRedisFilter"},
            {"FILTER_TYPE": "redis"},
            {"FILTER_TYPE": "bloom"},
            {"FILTER_CLASS": "crawlo.filters.memory_filter.MemoryFilter"},
        ],
    )
    def test_crawlos_fit_the_mode(self, values):
        assert final(values)["DUPEFILTER_CLASS"] == self.ours
        values = {**values, "RUN_MODE": "standalone"}
        assert final(values)["DUPEFILTER_CLASS"] == default_settings.DUPEFILTER_CLASS

    def test_memory_in_a_shared_crawl_is_told(self, caplog):
        final({"FILTER_CLASS": "crawlo.filters.MemoryFilter"})
        assert "the shared seen set is used" in caplog.text

    @pytest.mark.parametrize(
        "values",
        [
            {"FILTER_TYPE": "bloom"},
            {"FILTER_CLASS": "crawlo.filters.bloom_filter.BloomFilter"},
            {"CRAWLO_SEEN": "bloom"},
        ],
    )
    def test_a_bloom_filter_of_crawlos_is_ours(self, values):
        settings = final({**values, "BLOOM_FILTER_CAPACITY": "5000", "REDIS_TTL": "60"})
        assert settings["DUPEFILTER_CLASS"] == self.ours
        assert seen_choice(settings) == SeenChoice("bloom", 5000, 0.001, 60.0)

    @pytest.mark.parametrize(
        "values", [{}, {"FILTER_TYPE": "redis"}, {"FILTER_CLASS": "mine.BloomFilter"}]
    )
    def test_the_exact_set_is_the_default(self, values):
        assert seen_choice(final(values)) == SeenChoice()

    @pytest.mark.parametrize("rate", ["0", "0.5", "1"])
    def test_an_error_rate_that_cannot_be(self, rate):
        with pytest.raises(SettingError, match=r"BLOOM_FILTER_ERROR_RATE is .* less than 0\.5"):
            seen_choice(final({"CRAWLO_SEEN": "bloom", "BLOOM_FILTER_ERROR_RATE": rate}))

    def test_a_bloom_filter_keeps_no_urls(self):
        with pytest.raises(SettingError, match="cannot forget"):
            seen_choice(final({"CRAWLO_SEEN": "bloom", "CRAWLO_SEEN_URLS": "1"}))

    def test_the_projects_own(self):
        assert final({"FILTER_CLASS": "mine.Filter"})["DUPEFILTER_CLASS"] == "mine.Filter"


def test_stats_backend(monkeypatch):
    monkeypatch.setattr(modes, "available", lambda path: True)
    ours = "crawlo_scrapy.statscollector.RedisStatsCollector"
    assert final()["STATS_CLASS"] == ours
    assert final({"STATS_BACKEND": "redis"})["STATS_CLASS"] == ours
    assert final({"STATS_BACKEND": "prometheus"})["STATS_CLASS"] == ours
    assert final({"STATS_BACKEND": "memory"})["STATS_CLASS"] == default_settings.STATS_CLASS


class TestReplaced:
    """The add-on's own retry middleware stands for Scrapy's, however the project names either."""

    OURS = "crawlo_scrapy.downloadermiddlewares.RetryMiddleware"
    SCRAPYS = "scrapy.downloadermiddlewares.retry.RetryMiddleware"

    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            ({}, {OURS: 550, SCRAPYS: None}),
            ({SCRAPYS: 700}, {OURS: 700, SCRAPYS: None}),
            ({RetryMiddleware: 700}, {OURS: 700, RetryMiddleware: None}),
            ({OURS: 7}, {OURS: 7, SCRAPYS: None}),
            # Turned off, or another one in its place.
            ({SCRAPYS: None, "mine.Retry": 550}, {SCRAPYS: None, "mine.Retry": 550}),
            ({OURS: None}, {OURS: None}),
        ],
    )
    def test_place(self, given, expected):
        settings = final({"DOWNLOADER_MIDDLEWARES": given})
        found = settings.getdict("DOWNLOADER_MIDDLEWARES")
        assert found == {**expected, "crawlo_scrapy.robots.SharedRobotsMiddleware": 101}

    def test_alone_scrapys_stays(self):
        settings = final({"RUN_MODE": "standalone"})
        assert self.OURS not in settings.getdict("DOWNLOADER_MIDDLEWARES")

    def test_alone_there_are_metrics_where_they_are_wanted(self):
        settings = final({"RUN_MODE": "standalone", "PROMETHEUS_METRICS_PORT": 9100})
        assert "crawlo_scrapy.extensions.metrics.MetricsExtension" in settings["EXTENSIONS"]

    def test_alone_what_needs_no_crawl_stays(self):
        health = {"crawlo_scrapy.extensions.health.HealthCheck": 1}
        settings = final({"RUN_MODE": "standalone", "EXTENSIONS": health})
        assert settings.getdict("EXTENSIONS") == health


@pytest.mark.parametrize(
    ("setting", "path", "said"),
    [
        ("SCHEDULER", SCRAPYS, "takes no part in the shared crawl. Remove it"),
        ("SCHEDULER", "scrapy_redis.scheduler.Scheduler", "takes no part in the shared crawl"),
        ("SCHEDULER", OURS, ""),
        ("DUPEFILTER_CLASS", "scrapy.dupefilters.RFPDupeFilter", "crawl what others have seen"),
        ("STATS_CLASS", "scrapy_redis.stats.RedisStatsCollector", "no statistics of its own"),
        ("STATS_CLASS", "scrapy.statscollectors.MemoryStatsCollector", ""),
    ],
)
def test_component_of_another_package_is_told(setting, path, said, caplog):
    final({setting: path})
    assert said in caplog.text
    assert bool(said) == (f"{setting} is {path}" in caplog.text)


def test_a_shared_crawl_shows_itself():
    shared, alone = final(), final({"RUN_MODE": "standalone"})
    ours = "crawlo_scrapy.extensions.logstats.LogStatsExtension"
    scrapys = "scrapy.extensions.logstats.LogStats"
    assert shared["STATS_CLASS"] == "crawlo_scrapy.statscollector.RedisStatsCollector"
    assert (shared["EXTENSIONS"][ours], shared["EXTENSIONS"][scrapys]) == (0, None)
    assert "crawlo_scrapy.extensions.stats.StatsExtension" in shared["EXTENSIONS"]
    assert alone["STATS_CLASS"] == default_settings.STATS_CLASS
    assert not {ours, scrapys} & {*alone["EXTENSIONS"]}
    mine = final({"EXTENSIONS": {ours: None}})
    assert scrapys not in mine["EXTENSIONS"]
