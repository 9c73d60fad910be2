from __future__ import annotations

import pytest
from scrapy.settings import Settings

from crawlo_scrapy.config import CrawloConfig, create_config
from tests.config.support import final

SECRET = "hunter2"


def test_distributed_has_the_documents_defaults():
    values = CrawloConfig.distributed().to_dict()
    assert values == {
        "RUN_MODE": "distributed",
        "REDIS_HOST": "127.0.0.1",
        "REDIS_PORT": 6379,
        "REDIS_DB": 0,
        "PROJECT_NAME": "crawlo",
        "CONCURRENCY": 16,
        "DOWNLOAD_DELAY": 1.0,
        "ADDONS": {"crawlo_scrapy.Addon": 500},
    }


@pytest.mark.parametrize(
    ("config", "mode", "concurrency"),
    [
        (CrawloConfig.standalone(), "standalone", 8),
        (CrawloConfig.distributed(), "distributed", 16),
        (CrawloConfig.auto(), "auto", 12),
        (create_config("Distributed", concurrency=3), "distributed", 3),
        (create_config(), "standalone", 8),
        (CrawloConfig.presets().development(), "standalone", 4),
        (CrawloConfig.presets().production(), "auto", 16),
        (CrawloConfig.presets().large_scale("h", "p"), "distributed", 32),
        (CrawloConfig.presets().gentle(), "standalone", 2),
    ],
)
def test_modes_and_presets(config, mode, concurrency):
    assert config.get("RUN_MODE") == mode
    assert config.get("CONCURRENCY") == concurrency
    assert config.validate()


def test_positional_arguments_are_the_documents():
    config = CrawloConfig.distributed("h", 1, "p", 2, "name", 3, 4.0)
    names = "REDIS_HOST REDIS_PORT REDIS_PASSWORD REDIS_DB PROJECT_NAME CONCURRENCY DOWNLOAD_DELAY"
    assert [config.get(name) for name in names.split()] == ["h", 1, "p", 2, "name", 3, 4.0]


def test_newer_parameters():
    config = CrawloConfig.distributed(
        redis_username="u", sentinel_urls=["a:1"], sentinel_service="main"
    )
    assert config.get("REDIS_USER") == "u"
    assert config.get("redis_username") == "u"
    assert config.get("REDIS_SENTINEL_URLS") == ["a:1"]
    assert config.get("REDIS_SENTINEL_SERVICE") == "main"


def test_unknown_keywords_become_options_in_upper_case():
    config = CrawloConfig.distributed(redis_connection_pool_size=50, CONCURRENCY=7, my_own="x")
    assert config.get("REDIS_CONNECTION_POOL_SIZE") == 50
    assert config.get("CONCURRENCY") == 7
    assert config.to_dict()["MY_OWN"] == "x"


def test_every_fault_in_one_error():
    with pytest.raises(ValueError) as caught:
        CrawloConfig.distributed(
            redis_port=0, concurrency=-1, redis_password=[SECRET], log_level="LOUD"
        )
    text = str(caught.value)
    assert "REDIS_PORT is 0: must be a whole number from 1 to 65535" in text
    assert "CONCURRENCY is -1: must be a whole number of at least 1" in text
    assert "LOG_LEVEL is 'LOUD': must be one of CRITICAL" in text
    assert "REDIS_PASSWORD" in text and SECRET not in text


def test_wrong_mode():
    with pytest.raises(ValueError, match="standalone, distributed, auto"):
        create_config("cluster")


def test_chain():
    config = (
        CrawloConfig.standalone()
        .set("log_file", "x.log")
        .update({"MAX_RETRY_TIMES": 4}, interval=5)
        .set_concurrency(9)
        .set_delay(0.1)
        .enable_debug()
        .enable_mysql()
        .enable_mysql()
        .set_redis_host("h")
    )
    values = config.to_dict()
    assert values["LOG_FILE"] == "x.log"
    assert (values["MAX_RETRY_TIMES"], values["INTERVAL"]) == (4, 5)
    assert (values["CONCURRENCY"], values["DOWNLOAD_DELAY"]) == (9, 0.1)
    assert values["LOG_LEVEL"] == "DEBUG"
    assert values["PIPELINES"] == ["crawlo_scrapy.pipelines.MySQLPipeline"]
    assert values["REDIS_HOST"] == "h"
    assert config.get("NOTHING", 5) == 5


def test_enable_mysql_beside_a_dict():
    config = CrawloConfig.custom({"PIPELINES": {"a.A": 400}}).enable_mysql()
    assert config.get("PIPELINES")["crawlo_scrapy.pipelines.MySQLPipeline"] == 401


def test_validate_prints_what_is_wrong(capsys):
    config = CrawloConfig.standalone().set("CONCURRENCY", 0)
    assert not config.validate()
    assert "CONCURRENCY is 0" in capsys.readouterr().out


def test_no_password_is_ever_shown(capsys):
    config = CrawloConfig.distributed(
        redis_password=SECRET,
        redis_url=f"redis://u:{SECRET}@h:1/0",
        mongo_uri=f"mongodb://u:{SECRET}@h",
        redis_sentinel_urls=[f"redis://:{SECRET}@s:1"],
        requirepass=SECRET,
        default_request_headers={"Authorization": SECRET, "Cookie": SECRET},
        my_address=f"http://me:{SECRET}@h/",
    )
    config.print_summary()
    assert SECRET not in capsys.readouterr().out + repr(config) + str(config)
    assert "REDIS_URL='redis://u:****@h:1/0'" in repr(config)


def test_from_env(monkeypatch):
    monkeypatch.setenv("CRAWLO_MODE", "distributed")
    monkeypatch.setenv("REDIS_HOST", "h")
    monkeypatch.setenv("CONCURRENCY", "5")
    monkeypatch.setenv("CRAWLO_LOG_LEVEL", "INFO")
    values = CrawloConfig.from_env().to_dict()
    assert values["RUN_MODE"] == "distributed"
    assert (values["REDIS_HOST"], values["CONCURRENCY"], values["LOG_LEVEL"]) == ("h", 5, "INFO")


def test_from_env_with_nothing_set():
    assert CrawloConfig.from_env().get("RUN_MODE") == "standalone"
    assert CrawloConfig.from_env("auto").get("CONCURRENCY") == 12


def test_default_parameters_are_told_from_given_ones():
    config = CrawloConfig.distributed(concurrency=16)
    assert "CONCURRENCY" not in config.defaults()
    assert config.defaults()["DOWNLOAD_DELAY"] == 1.0
    assert "DOWNLOAD_DELAY" not in CrawloConfig.distributed(DOWNLOAD_DELAY=1.0).defaults()
    assert "CONCURRENCY" not in CrawloConfig.standalone().set_concurrency(8).defaults()


def test_border_is_crossed_in_to_dict():
    config = CrawloConfig.custom(depth_priority=1, extensions=["a.A"])
    assert config.get("DEPTH_PRIORITY") == 1
    assert config.to_dict()["DEPTH_PRIORITY"] == -1
    assert config.to_dict()["EXTENSIONS"] == {"a.A": 500}


def test_add_ons_of_the_user_stay():
    config = CrawloConfig.distributed(addons={"mine.Addon": 600})
    assert config.to_dict()["ADDONS"] == {"crawlo_scrapy.Addon": 500, "mine.Addon": 600}


def test_to_dict_is_all_that_a_settings_module_needs():
    config = CrawloConfig.distributed(
        redis_host="192.168.1.100", redis_password="p", concurrency=10
    )
    settings = Settings()
    settings.setdict(config.to_dict(), "project")
    settings = final({}, settings=settings)
    assert settings["SCHEDULER"] == "crawlo_scrapy.scheduler.RedisScheduler"
    assert settings["DUPEFILTER_CLASS"] == "crawlo_scrapy.dupefilter.RedisDupeFilter"
    assert settings["REDIS_HOST"] == "192.168.1.100"
    assert settings["CONCURRENT_REQUESTS"] == settings["CONCURRENT_REQUESTS_PER_DOMAIN"] == 10
