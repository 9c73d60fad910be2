"""What each mapped option becomes."""

from __future__ import annotations

import pytest
from scrapy.settings import BaseSettings, default_settings
from scrapy.utils.misc import load_object

from crawlo_scrapy.config.convert import scrapy_has
from crawlo_scrapy.config.memory import total_memory_mb
from crawlo_scrapy.config.options import OPTIONS
from crawlo_scrapy.config.parse import OptionError
from tests.config.support import components, crawler, final

#: Option, value, setting, what it must be there.
SIMPLE = [
    ("CONCURRENCY", 20, "CONCURRENT_REQUESTS", 20),
    ("CONCURRENCY", "20", "CONCURRENT_REQUESTS_PER_DOMAIN", 20),
    ("DOWNLOAD_WARN_SIZE", 1024, "DOWNLOAD_WARNSIZE", 1024),
    ("DOWNLOAD_STATS", False, "DOWNLOADER_STATS", False),
    ("AIOHTTP_AUTO_DECOMPRESS", False, "COMPRESSION_ENABLED", False),
    ("HTTPX_FOLLOW_REDIRECTS", False, "REDIRECT_ENABLED", False),
    ("DEPTH_PRIORITY", 1, "DEPTH_PRIORITY", 1),
    ("MAX_RETRY_TIMES", 5, "RETRY_TIMES", 5),
    ("DOWNLOAD_RETRY_TIMES", 4, "RETRY_TIMES", 4),
    ("RETRY_STATUS_CODES", [500, 429], "RETRY_HTTP_CODES", [500, 429]),
    ("RETRY_STATUS_CODES", "500,429", "RETRY_HTTP_CODES", [500, 429]),
    ("RETRY_PRIORITY", -100, "RETRY_PRIORITY_ADJUST", 100),
    ("ALLOWED_RESPONSE_CODES", [404], "HTTPERROR_ALLOWED_CODES", [404]),
    ("INTERVAL", 30, "LOGSTATS_INTERVAL", 30),
    ("LOG_STATS_INTERVAL", 30, "LOGSTATS_INTERVAL", 30),
    ("PROGRESS_REPORT_INTERVAL", 30, "LOGSTATS_INTERVAL", 30),
    ("MEMORY_MONITOR_ENABLED", False, "MEMUSAGE_ENABLED", False),
    ("MEMORY_MONITOR_INTERVAL", 5, "MEMUSAGE_CHECK_INTERVAL_SECONDS", 5),
    ("MEMORY_USAGE_CHECK_INTERVAL", 5, "MEMUSAGE_CHECK_INTERVAL_SECONDS", 5),
    ("MEMORY_USAGE_WARNING_THRESHOLD", 500, "MEMUSAGE_WARNING_MB", 500),
    ("MEMORY_LIMIT", "2GB", "MEMUSAGE_LIMIT_MB", 2048),
    ("MEMORY_LIMIT", "512MB", "MEMUSAGE_LIMIT_MB", 512),
    ("MEMORY_LIMIT", "1.5GiB", "MEMUSAGE_LIMIT_MB", 1536),
    ("MEMORY_LIMIT", 2**31, "MEMUSAGE_LIMIT_MB", 2048),
    ("FILTER_DEBUG", True, "DUPEFILTER_DEBUG", True),
    ("REDIS_USERNAME", "me", "REDIS_USER", "me"),
    ("MYSQL_DATABASE", "shop", "MYSQL_DB", "shop"),
    ("CLEANUP_FP", True, "SCHEDULER_PERSIST", False),
    ("CLEANUP_FP", False, "SCHEDULER_PERSIST", None),
    ("CLUSTER_HEARTBEAT_INTERVAL", 5, "CRAWLO_HEARTBEAT_INTERVAL", 5),
    ("CLUSTER_WORKER_TIMEOUT", 60, "CRAWLO_WORKER_TIMEOUT", 60),
    ("STREAM_DELIVERY_COUNT_LIMIT", 7, "CRAWLO_MAX_ATTEMPTS", 7),
    ("QUEUE_MAX_RETRIES", 3, "CRAWLO_MAX_ATTEMPTS", 4),
    ("WORKER_ID", "w1", "CRAWLO_NODE_ID", "w1"),
    ("CRAWLO_CONCURRENCY", 6, "CONCURRENT_REQUESTS", 6),
    ("CRAWLO_REDIS_HOST", "h", "REDIS_HOST", "h"),
    ("CRAWLO_DEBUG", True, "LOG_LEVEL", "DEBUG"),
    ("REDIS_CLUSTER_ENABLED", True, "REDIS_CLUSTER_NODES", ["127.0.0.1:6379"]),
    ("DOWNLOAD_DELAY_OVERRIDES", {"a.com": 2}, "DOWNLOAD_SLOTS", {"a.com": {"delay": 2.0}}),
]


@pytest.mark.parametrize(("option", "value", "setting", "expected"), SIMPLE)
def test_option_becomes_setting_at_its_own_priority(option, value, setting, expected):
    settings = final({option: value})
    found = settings[setting]
    assert (dict(found) if isinstance(expected, dict) else found) == expected
    if expected is not None:
        assert settings.getpriority(setting) == 20


@pytest.mark.parametrize("option", [o.name for o in OPTIONS.values() if o.how == "same"])
def test_same_name_is_left_alone(option):
    values = {"choice": None, "list": [], "codes": [500], "dict": {"a": "b"}, "bool": True}
    value = values.get(OPTIONS[option].type, "INFO" if OPTIONS[option].type == "level" else 3)
    assert final({option: value})[option] == value


def test_first_row_wins_among_options_of_one_setting():
    values = {"DOWNLOAD_RETRY_TIMES": 3, "MAX_RETRY_TIMES": 5}
    assert final(values)["RETRY_TIMES"] == 5
    assert final({"MAX_RETRY_TIMES": 5}, spider={"DOWNLOAD_RETRY_TIMES": 3})["RETRY_TIMES"] == 3


def test_ignored_codes_are_taken_out():
    codes = final({"IGNORE_HTTP_CODES": [429, 404]})["RETRY_HTTP_CODES"]
    assert codes == [code for code in default_settings.RETRY_HTTP_CODES if code != 429]
    both = {"RETRY_STATUS_CODES": [500, 429], "IGNORE_HTTP_CODES": [429]}
    assert final(both)["RETRY_HTTP_CODES"] == [500]
    assert final(both, spider={"RETRY_HTTP_CODES": [429]})["RETRY_HTTP_CODES"] == [429]
    denied = {"ALLOWED_RESPONSE_CODES": [404, 403], "DENIED_RESPONSE_CODES": [403]}
    assert final(denied)["HTTPERROR_ALLOWED_CODES"] == [404]


class TestDelays:
    def jitter(self, **values):
        settings = final(values)
        if scrapy_has("DOWNLOAD_DELAY_JITTER"):
            return settings.getfloat("DOWNLOAD_DELAY_JITTER")
        return 0.5 if settings.getbool("RANDOMIZE_DOWNLOAD_DELAY") else 0.0

    def test_range(self, caplog):
        assert self.jitter(RANDOM_RANGE=[0.5, 1.5]) == 0.5
        assert self.jitter(RANDOM_RANGE=(1, 1)) == 0
        assert self.jitter(RANDOM_RANGE="0.5,1.5") == 0.5
        assert "About the configuration" not in caplog.text

    def test_randomness(self):
        assert self.jitter(RANDOMNESS=False, RANDOM_RANGE=[0.5, 1.5]) == 0
        assert self.jitter(RANDOMNESS=True) == 0.5
        assert self.jitter(RANDOMNESS=True, RANDOM_RANGE=[1, 1]) == 0

    def test_narrow_range(self, caplog):
        if scrapy_has("DOWNLOAD_DELAY_JITTER"):
            assert self.jitter(RANDOM_RANGE=[0.8, 1.2]) == 0.2
        else:
            assert self.jitter(RANDOM_RANGE=[0.8, 1.2]) == 0.5
            assert "needs Scrapy 2.19" in caplog.text

    def test_asymmetric_range_is_told(self, caplog):
        self.jitter(RANDOM_RANGE=[2.0, 5.0])
        assert "RANDOM_RANGE 2 to 5 is not symmetric" in caplog.text

    def test_slots_of_the_project_win(self):
        settings = final(
            {"DOWNLOAD_DELAY_OVERRIDES": {"a.com": 2, "b.com": 3}, "DOWNLOAD_SLOTS": {"a.com": {}}}
        )
        assert dict(settings["DOWNLOAD_SLOTS"]) == {"a.com": {}, "b.com": {"delay": 3.0}}


def test_verify_ssl(caplog):
    settings = final({"VERIFY_SSL": True})
    if scrapy_has("DOWNLOAD_VERIFY_CERTIFICATES"):
        assert settings["DOWNLOAD_VERIFY_CERTIFICATES"] is True
    else:
        assert "certificates are NOT verified" in caplog.text


class TestMemory:
    @pytest.fixture
    def machine(self, tmp_path):
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/meminfo").write_text("MemTotal:  4194304 kB\nMemFree: 1 kB\n")
        (tmp_path / "proc/self/cgroup").write_text("0::/kubepods/pod1\n")
        return tmp_path

    def limit(self, root, path, text):
        file = root / "sys/fs/cgroup" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def test_machine(self, machine):
        assert total_memory_mb(machine) == 4096

    @pytest.mark.parametrize(
        "path",
        [
            "memory.max",
            "kubepods/memory.max",
            "kubepods/pod1/memory.max",
            "memory/memory.limit_in_bytes",
        ],
    )
    def test_container(self, machine, path):
        self.limit(machine, path, f"{2**29}\n")
        assert total_memory_mb(machine) == 512

    def test_no_limit(self, machine):
        self.limit(machine, "memory.max", "max\n")
        assert total_memory_mb(machine) == 4096

    def test_unknown(self, tmp_path):
        assert total_memory_mb(tmp_path) == 0

    def test_percent(self, monkeypatch):
        monkeypatch.setattr("crawlo_scrapy.config.convert.total_memory_mb", lambda: 2000)
        settings = final({"MEMORY_WARNING_THRESHOLD": 80.0, "MEMORY_CRITICAL_THRESHOLD": 90.0})
        assert settings["MEMUSAGE_WARNING_MB"] == 1600
        assert settings["MEMUSAGE_LIMIT_MB"] == 1800

    def test_percent_of_the_unknown(self, monkeypatch, caplog):
        monkeypatch.setattr("crawlo_scrapy.config.convert.total_memory_mb", lambda: 0)
        assert final({"MEMORY_WARNING_THRESHOLD": 80})["MEMUSAGE_WARNING_MB"] == 0
        assert "MEMORY_WARNING_THRESHOLD was left out" in caplog.text

    def test_absolute_beats_percent(self):
        values = {"MEMORY_LIMIT": "1GB", "MEMORY_CRITICAL_THRESHOLD": 50}
        assert final(values)["MEMUSAGE_LIMIT_MB"] == 1024

    def test_a_number_that_can_only_be_megabytes_is_a_fault(self):
        with pytest.raises(OptionError, match="less than a megabyte"):
            final({"MEMORY_LIMIT": 2048})


class TestComponents:
    def test_list_becomes_dict_in_order(self):
        settings = final({"MIDDLEWARES": ["a.A", "b.B"], "PIPELINES": ["c.C", "d.D"]})
        assert components(settings, "DOWNLOADER_MIDDLEWARES") == {"a.A": 501, "b.B": 502}
        assert dict(settings["ITEM_PIPELINES"]) == {"c.C": 300, "d.D": 301}

    def test_dict_keeps_its_numbers(self):
        settings = final({"MIDDLEWARES": {"a.A": 7, "crawlo.middleware.RetryMiddleware": 100}})
        assert components(settings, "DOWNLOADER_MIDDLEWARES") == {"a.A": 7}

    def test_scrapys_name_is_merged(self):
        settings = final({"PIPELINES": ["a.A"], "ITEM_PIPELINES": {"b.B": 1, "a.A": None}})
        assert dict(settings["ITEM_PIPELINES"]) == {"a.A": None, "b.B": 1}

    def test_command_that_empties_pipelines_is_respected(self):
        # `scrapy check` does so, above custom_settings.
        from scrapy.settings import Settings

        settings = Settings()
        settings.set("ITEM_PIPELINES", {}, 35)
        assert not final({"PIPELINES": ["a.A"]}, settings=settings)["ITEM_PIPELINES"]

    def test_extensions_become_ours_or_scrapys(self, monkeypatch):
        for module in ("components", "modes"):
            monkeypatch.setattr(
                f"crawlo_scrapy.config.{module}.available", lambda path: "memory" in path
            )
        extensions = {
            "EXTENSIONS": {
                "crawlo.extensions.LogStatsExtension": 1,
                "crawlo.extension.memory_monitor.MemoryMonitorExtension": 2,
                "mine.M": 3,
            }
        }
        settings = final(extensions)
        assert dict(settings["EXTENSIONS"]) == {
            "scrapy.extensions.logstats.LogStats": 1,
            "crawlo_scrapy.extensions.memory.MemoryUsageExtension": 2,
            "scrapy.extensions.memusage.MemoryUsage": None,
            "mine.M": 3,
        }

    def test_spider_may_give_extensions_as_a_list(self):
        settings = final(spider={"EXTENSIONS": ["mine.M", "mine.N"]})
        assert components(settings, "EXTENSIONS") == {"mine.M": 500, "mine.N": 501}

    def test_unknown_component_of_crawlo_is_told(self, caplog):
        settings = final({"PIPELINES": ["crawlo.pipelines.Nothing"]})
        assert not settings["ITEM_PIPELINES"]
        assert "crawlo.pipelines.Nothing in PIPELINES is not known here" in caplog.text

    def test_dedup_pipeline_is_told(self, caplog):
        final({"PIPELINES": ["crawlo.pipelines.memory_dedup_pipeline.MemoryDedupPipeline"]})
        assert "raises DropItem" in caplog.text

    def test_dedup_pipeline_of_a_crawl_that_is_not_shared_is_told(self, caplog):
        path = "crawlo.pipelines.redis_dedup_pipeline.RedisDedupPipeline"
        settings = final({"PIPELINES": [path], "RUN_MODE": "standalone"})
        assert not settings["ITEM_PIPELINES"]
        assert "no crawl is shared here" in caplog.text

    @pytest.mark.parametrize(
        ("name", "ours"),
        [
            ("MySQLPipeline", "mysql.MySQLPipeline"),
            ("AsyncmyMySQLPipeline", "mysql.MySQLPipeline"),
            ("MongoPipeline", "mongodb.MongoPipeline"),
            ("RedisDedupPipeline", "redis_dedup.RedisDedupPipeline"),
            ("ConsolePipeline", "console.ConsolePipeline"),
            ("JsonPipeline", "jsonlines.JsonPipeline"),
            ("CsvPipeline", "jsonlines.CsvPipeline"),
        ],
    )
    def test_pipelines_become_ours(self, name, ours):
        for path in (f"crawlo.pipelines.{name}", f"crawlo.pipelines.some_module.{name}"):
            settings = final({"PIPELINES": [path], "RUN_MODE": "distributed"})
            assert dict(settings["ITEM_PIPELINES"]) == {f"crawlo_scrapy.pipelines.{ours}": 300}
        load_object(f"crawlo_scrapy.pipelines.{ours}")

    def test_downloader_of_crawlo_gives_way_to_scrapys(self, caplog):
        settings = final({"DOWNLOADER": "crawlo.downloader.HybridDownloader"})
        assert settings["DOWNLOADER"] == default_settings.DOWNLOADER
        assert "scrapy-playwright" in caplog.text

    def test_paths_under_scrapys_names(self):
        settings = final({"DOWNLOADER_MIDDLEWARES": {"crawlo.middleware.ProxyMiddleware": 1}})
        assert not components(settings, "DOWNLOADER_MIDDLEWARES")


class TestFeeds:
    def test_csv(self):
        settings = final(
            {
                "CSV_FILE": "items.csv",
                "CSV_DELIMITER": ";",
                "CSV_FIELDNAMES": ["a", "b"],
                "CSV_INCLUDE_HEADERS": False,
            }
        )
        assert dict(settings["FEEDS"]) == {
            "items.csv": {
                "format": "csv",
                "encoding": "utf-8",
                "item_export_kwargs": {"delimiter": ";", "include_headers_line": False},
                "fields": ["a", "b"],
            }
        }

    def test_json(self):
        feeds = final({"JSON_FILE": "a.jl", "JSONLINES_FILE": "b.jl"})["FEEDS"]
        assert {path: feed["format"] for path, feed in feeds.items()} == {
            "a.jl": "jsonlines",
            "b.jl": "jsonlines",
        }

    def test_array_is_overwritten_and_told(self, caplog):
        feeds = final({"JSON_ARRAY_FILE": "a.json"})["FEEDS"]
        assert feeds["a.json"]["overwrite"] is True
        assert "JSON_ARRAY_FILE is one JSON array" in caplog.text

    def test_files_of_different_places_are_all_written(self):
        feeds = final({"CSV_FILE": "a.csv"}, spider={"JSON_FILE": "b.jl"})["FEEDS"]
        assert set(feeds) == {"a.csv", "b.jl"}

    def test_command_line_output_replaces_them(self):
        feeds = final({"CSV_FILE": "a.csv"}, cmdline={"FEEDS": {"o.json": {}}})["FEEDS"]
        assert set(feeds) == {"o.json"}

    def test_our_pipeline_writes_its_file_itself(self):
        path = "crawlo.pipelines.csv_pipeline.CsvPipeline"
        settings = final({"PIPELINES": [path], "CSV_FILE": "a.csv"})
        assert dict(settings["ITEM_PIPELINES"]) == {
            "crawlo_scrapy.pipelines.jsonlines.CsvPipeline": 300
        }
        assert not settings["FEEDS"]

    def test_pipeline_without_a_file_has_crawlos_default(self):
        settings = final({"PIPELINES": ["crawlo.pipelines.json_pipeline.JsonArrayPipeline"]})
        assert set(settings["FEEDS"]) == {"output/%(name)s_%(time)s.json"}


class TestAllowedDomains:
    def spider(self, **attributes):
        from types import SimpleNamespace

        from crawlo_scrapy.config.adapter import apply_options

        spider = SimpleNamespace(**attributes)
        apply_options(crawler({"ALLOWED_DOMAINS": ["a.com"]}).settings, spider=spider)
        return spider

    def test_spider_without(self):
        assert self.spider().allowed_domains == ["a.com"]

    def test_spider_with_its_own(self):
        assert self.spider(allowed_domains=["b.com"]).allowed_domains == ["b.com"]


@pytest.mark.parametrize(
    "values",
    [
        {"CONCURRENCY": 5, "MAX_RETRY_TIMES": 1, "DOWNLOAD_RETRY_TIMES": 2},
        {"PIPELINES": ["a.A", "crawlo.pipelines.JsonPipeline"], "JSON_FILE": "x"},
        {"IGNORE_HTTP_CODES": [500], "CSV_FILE": "x.csv", "QUEUE_MAX_RETRIES": 3},
        {"REDIS_URL": "redis://h/0", "REQUIREPASS": "x", "RETRY_PRIORITY": 2},
    ],
)
def test_applying_twice_changes_nothing(values, caplog):
    made = crawler(values)
    once = plain(made.settings)
    caplog.clear()
    made.addons.load_settings(made.settings)
    assert plain(made.settings) == once
    assert "does not change" not in caplog.text


def plain(settings):
    """Each setting with its priority, as text; a settings object by what it holds."""
    return {
        name: (settings.getpriority(name), str(dict(v) if isinstance(v, BaseSettings) else v))
        for name, v in settings.items()
    }
