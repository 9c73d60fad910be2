"""command line > spider > environment > config file > settings.py > add-on's default."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scrapy.settings import Settings

from crawlo_scrapy.config.files import apply_config_file
from tests.config.support import final

#: From the lowest place to the highest.
PLACES = ["addon", "project", "config", "environment", "spider", "cmdline"]
#: Each place's own value.
VALUES = {place: 10 + n for n, place in enumerate(PLACES)}


def settled(places, monkeypatch, tmp_path, name="CONCURRENCY", env="CONCURRENCY"):
    """Set *name* in each of the places, to that place's value."""
    settings = Settings()
    if "addon" in places:
        settings.set("CONCURRENT_REQUESTS", VALUES["addon"], "addon")
    if "config" in places:
        file = tmp_path / "config.py"
        file.write_text(f"{name} = {VALUES['config']}\n")
        apply_config_file(settings, file)
    if "environment" in places:
        monkeypatch.setenv(env, str(VALUES["environment"]))

    def values(place):
        return {name: VALUES[place]} if place in places else {}

    return final(
        values("project"),
        spider=values("spider"),
        cmdline=values("cmdline"),
        settings=settings,
    )


@pytest.mark.parametrize(("low", "high"), [*itertools.combinations(PLACES, 2)])
def test_the_higher_place_wins(low, high, monkeypatch, tmp_path):
    settings = settled({low, high}, monkeypatch, tmp_path)
    assert settings.getint("CONCURRENT_REQUESTS") == VALUES[high]
    if low != "addon":
        assert settings.getint("CONCURRENT_REQUESTS_PER_DOMAIN") == VALUES[high]


@pytest.mark.parametrize("env", ["CRAWLO_DOWNLOAD_TIMEOUT"])
@pytest.mark.parametrize(("low", "high"), [*itertools.combinations(PLACES[1:], 2)])
def test_the_higher_place_wins_for_a_name_of_scrapys(low, high, env, monkeypatch, tmp_path):
    settings = settled({low, high}, monkeypatch, tmp_path, "DOWNLOAD_TIMEOUT", env)
    assert settings.getint("DOWNLOAD_TIMEOUT") == VALUES[high]


@pytest.mark.parametrize(
    ("low", "high"), [*itertools.combinations(["project", "spider", "cmdline"], 2)]
)
def test_crawlos_and_scrapys_names_compete_by_place(low, high):
    crawlo, scrapy = {"CONCURRENCY": 3}, {"CONCURRENT_REQUESTS": 7}
    assert final(**{low: crawlo, high: scrapy}).getint("CONCURRENT_REQUESTS") == 7
    assert final(**{low: scrapy, high: crawlo}).getint("CONCURRENT_REQUESTS") == 3


def test_at_the_same_place_scrapys_name_wins_and_the_log_says_so(caplog):
    settings = final({"CONCURRENCY": 20, "CONCURRENT_REQUESTS_PER_DOMAIN": 1})
    assert settings.getint("CONCURRENT_REQUESTS") == 20
    assert settings.getint("CONCURRENT_REQUESTS_PER_DOMAIN") == 1
    assert "CONCURRENCY does not change CONCURRENT_REQUESTS_PER_DOMAIN" in caplog.text


def test_a_preset_gives_way_to_the_project():
    assert final().getint("CONCURRENT_ITEMS") == 8
    assert final({"CONCURRENT_ITEMS": 100}).getint("CONCURRENT_ITEMS") == 100


def test_a_component_of_the_project_wins():
    theirs = "scrapy.core.scheduler.Scheduler"
    assert final()["SCHEDULER"] == "crawlo_scrapy.scheduler.RedisScheduler"
    assert final({"SCHEDULER": theirs})["SCHEDULER"] == theirs


@hypothesis_settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.sets(st.sampled_from(PLACES[1:]), min_size=1))
def test_any_set_of_places(tmp_path, places):
    with pytest.MonkeyPatch.context() as monkeypatch:
        settings = settled(places, monkeypatch, tmp_path)
    highest = max(places, key=PLACES.index)
    assert settings.getint("CONCURRENT_REQUESTS") == VALUES[highest]


class TestRedisAddress:
    def test_environment_beats_the_files_url(self, monkeypatch):
        monkeypatch.setenv("REDIS_HOST", "redis-service")
        monkeypatch.setenv("REDIS_PASSWORD", "p@ss/word")
        url = "redis://user:old@10.0.0.1:7000/3"
        settings = final({"REDIS_URL": url})
        assert settings["REDIS_URL"] == "redis://user:p%40ss%2Fword@redis-service:7000/3"

    def test_url_stands_at_the_same_place_or_a_higher_one(self, monkeypatch):
        url = "redis://10.0.0.1:7000/3"
        assert final({"REDIS_URL": url, "REDIS_HOST": "other"})["REDIS_URL"] == url
        monkeypatch.setenv("REDIS_HOST", "redis-service")
        assert final(cmdline={"REDIS_URL": url})["REDIS_URL"] == url

    def test_host_replaces_a_unix_socket(self, monkeypatch):
        monkeypatch.setenv("REDIS_HOST", "redis-service")
        settings = final({"REDIS_URL": "unix:///run/redis.sock"})
        assert settings["REDIS_URL"] == "redis://redis-service:6379"

    def test_ipv6(self, monkeypatch):
        monkeypatch.setenv("REDIS_HOST", "::1")
        assert final({"REDIS_URL": "redis://h:1/0"})["REDIS_URL"] == "redis://[::1]:1/0"

    def test_requirepass_serves_where_there_is_no_password(self):
        assert final({"REQUIREPASS": "secret"})["REDIS_PASSWORD"] == "secret"
        both = final({"REQUIREPASS": "secret", "REDIS_PASSWORD": "mine"})
        assert both["REDIS_PASSWORD"] == "mine"
