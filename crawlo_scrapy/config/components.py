"""Components: those that the add-on turns on, and what Crawlo's import paths become.

A component of ours is used where its module is in this version; until then Scrapy's
counterpart stands in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from scrapy.utils.python import global_object_name

from crawlo_scrapy.config.option import module_exists

SCHEDULER = "crawlo_scrapy.scheduler.RedisScheduler"
DUPEFILTER = "crawlo_scrapy.dupefilter.RedisDupeFilter"
STATS = "crawlo_scrapy.statscollector.RedisStatsCollector"
METRICS = "crawlo_scrapy.extensions.metrics.MetricsExtension"

#: Settings that name one class: ours, which the add-on sets for a crawl that is shared.
ONE_CLASS = {"SCHEDULER": SCHEDULER, "DUPEFILTER_CLASS": DUPEFILTER, "STATS_CLASS": STATS}

#: Components that the add-on adds to a priority dict: setting, path, number.
ADDED = [
    # The lowest number is nearest to the engine: it sees what start() yields last, when every
    # other middleware is through with it.
    ("SPIDER_MIDDLEWARES", "crawlo_scrapy.spidermiddlewares.SeedMiddleware", 1),
    ("EXTENSIONS", "crawlo_scrapy.extensions.stats.StatsExtension", 0),
    ("EXTENSIONS", "crawlo_scrapy.extensions.logstats.LogStatsExtension", 0),
    ("EXTENSIONS", "crawlo_scrapy.extensions.memory.MemoryUsageExtension", 0),
    ("EXTENSIONS", "crawlo_scrapy.extensions.health.HealthCheck", 0),
    ("EXTENSIONS", "crawlo_scrapy.extensions.throttle.AutoThrottleExtension", 0),
    ("EXTENSIONS", "crawlo_scrapy.extensions.closecrawl.CloseCrawl", 0),
    ("EXTENSIONS", "crawlo_scrapy.extensions.seedcron.SeedCron", 0),
    ("EXTENSIONS", METRICS, 0),
    ("EXTENSIONS", "crawlo_scrapy.extensions.alerts.AlertsExtension", 0),
    # Between Scrapy's RobotsTxtMiddleware, whose requests it answers, and all others.
    ("DOWNLOADER_MIDDLEWARES", "crawlo_scrapy.robots.SharedRobotsMiddleware", 101),
    ("DOWNLOADER_MIDDLEWARES", "crawlo_scrapy.downloadermiddlewares.RetryMiddleware", 550),
]
#: Components of Scrapy that the add-on turns off where it turns on what replaces them.
REPLACED = {
    f"crawlo_scrapy.{ours}": f"scrapy.{scrapys}"
    for ours, scrapys in (
        ("extensions.logstats.LogStatsExtension", "extensions.logstats.LogStats"),
        ("extensions.memory.MemoryUsageExtension", "extensions.memusage.MemoryUsage"),
        ("downloadermiddlewares.RetryMiddleware", "downloadermiddlewares.retry.RetryMiddleware"),
        ("cookies.SharedCookiesMiddleware", "downloadermiddlewares.cookies.CookiesMiddleware"),
    )
}


@dataclass(frozen=True)
class Component:
    """One of Crawlo's classes. `name` is the class's; Crawlo moved its modules about."""

    name: str
    #: Ours, if there is or will be one.
    ours: str = ""
    #: Scrapy's counterpart.
    scrapy: str = ""
    #: Ours does all that Scrapy's does, which is turned off.
    replaces: bool = False
    #: Ours speaks to the crawl in Redis: never where no crawl is joined.
    joins: bool = True
    #: What to use when there is neither.
    instead: str = ""


_E = "crawlo_scrapy.extensions."
_SE = "scrapy.extensions."
_P = "crawlo_scrapy.pipelines."
_SM = "scrapy.downloadermiddlewares."

EXTENSIONS = [
    Component("StatsExtension", f"{_E}stats.StatsExtension", f"{_SE}corestats.CoreStats"),
    Component(
        "LogStatsExtension", f"{_E}logstats.LogStatsExtension", f"{_SE}logstats.LogStats", True
    ),
    Component("LogStats", f"{_E}logstats.LogStatsExtension", f"{_SE}logstats.LogStats", True),
    Component(
        "LogIntervalExtension", f"{_E}logstats.LogStatsExtension", f"{_SE}logstats.LogStats", True
    ),
    Component(
        "MemoryUsageExtension",
        f"{_E}memory.MemoryUsageExtension",
        f"{_SE}memusage.MemoryUsage",
        True,
        False,
    ),
    Component(
        "MemoryMonitorExtension",
        f"{_E}memory.MemoryUsageExtension",
        f"{_SE}memusage.MemoryUsage",
        True,
        False,
    ),
    # A downloader middleware, which a shared crawl has anyway; elsewhere Scrapy's does its work.
    Component("RetryExtension", scrapy=f"{_SM}retry.RetryMiddleware"),
    Component("HealthCheckExtension", f"{_E}health.HealthCheck", joins=False),
    Component("HealthCheck", f"{_E}health.HealthCheck", joins=False),
    # Crawlo has none: STATS_BACKEND = "prometheus" turns it on.
    Component("MetricsExtension", METRICS, joins=False),
    # The add-on reads the LOG_* settings itself.
    Component("CustomLoggerExtension", scrapy="scrapy.utils.log"),
    Component("RequestRecorderExtension", instead="HTTPCACHE_ENABLED"),
    Component("PerformanceProfilerExtension", instead="scrapy crawl --profile FILE"),
]
PIPELINES = [
    Component(
        "ConsolePipeline",
        f"{_P}console.ConsolePipeline",
        instead="Scrapy's log, which shows items",
        joins=False,
    ),
    Component("CsvPipeline", f"{_P}jsonlines.CsvPipeline", "FEEDS", joins=False),
    Component("CsvDictPipeline", "", "FEEDS"),
    Component("CsvBatchPipeline", "", "FEEDS"),
    Component("JsonPipeline", f"{_P}jsonlines.JsonPipeline", "FEEDS", joins=False),
    Component("JsonLinesPipeline", f"{_P}jsonlines.JsonLinesPipeline", "FEEDS", joins=False),
    Component("JsonArrayPipeline", "", "FEEDS"),
    Component(
        "MongoPipeline",
        f"{_P}mongodb.MongoPipeline",
        instead="an item pipeline of your own",
        joins=False,
    ),
    Component(
        "AsyncmyMySQLPipeline",
        f"{_P}mysql.MySQLPipeline",
        instead="an item pipeline of your own",
        joins=False,
    ),
    Component(
        "AiomysqlMySQLPipeline",
        f"{_P}mysql.MySQLPipeline",
        instead="an item pipeline of your own",
        joins=False,
    ),
    Component(
        "MySQLPipeline",
        f"{_P}mysql.MySQLPipeline",
        instead="an item pipeline of your own",
        joins=False,
    ),
    Component(
        "RedisDedupPipeline",
        f"{_P}redis_dedup.RedisDedupPipeline",
        instead="an item pipeline that raises DropItem, for no crawl is shared here",
    ),
    *(
        Component(name, instead=f"{_P}RedisDedupPipeline, or an item pipeline that raises DropItem")
        for name in ("MemoryDedupPipeline", "BloomDedupPipeline", "DatabaseDedupPipeline")
    ),
]
MIDDLEWARES = [
    Component("RetryMiddleware", scrapy=f"{_SM}retry.RetryMiddleware"),
    Component("ProxyMiddleware", scrapy=f"{_SM}httpproxy.HttpProxyMiddleware"),
    Component("SimpleProxyMiddleware", scrapy=f"{_SM}httpproxy.HttpProxyMiddleware"),
    Component("DefaultHeaderMiddleware", scrapy=f"{_SM}defaultheaders.DefaultHeadersMiddleware"),
    Component("OffsiteMiddleware", scrapy=f"{_SM}offsite.OffsiteMiddleware"),
    Component("RequestIgnoreMiddleware", scrapy="scrapy.core.engine"),
    Component("DownloadDelayMiddleware", scrapy="scrapy.core.downloader"),
    Component("ResponseCodeMiddleware", scrapy=f"{_SM}stats.DownloaderStats"),
    Component(
        "ResponseFilterMiddleware", scrapy="scrapy.spidermiddlewares.httperror.HttpErrorMiddleware"
    ),
]
#: By the setting that holds them; Crawlo's names of the settings and Scrapy's.
TABLES = {
    "EXTENSIONS": {c.name: c for c in EXTENSIONS},
    "PIPELINES": {c.name: c for c in PIPELINES},
    "ITEM_PIPELINES": {c.name: c for c in PIPELINES},
    "MIDDLEWARES": {c.name: c for c in MIDDLEWARES},
    "DOWNLOADER_MIDDLEWARES": {c.name: c for c in MIDDLEWARES},
}
#: The number of the first component of a list. Downloader middlewares of a project stand between
#: Scrapy's UserAgentMiddleware (500) and RetryMiddleware (550), as in Scrapy's template.
_FIRST = {
    "MIDDLEWARES": 501,
    "DOWNLOADER_MIDDLEWARES": 501,
    "PIPELINES": 300,
    "ITEM_PIPELINES": 300,
}


def available(path: str) -> bool:
    """Whether the module of an import path is there."""
    return module_exists(path.rpartition(".")[0])


def priority_dict(setting: str, components: Iterable[Any]) -> dict[Any, Any]:
    """Make a priority dict of a list, in list order."""
    return {path: _FIRST.get(setting, 500) + n for n, path in enumerate(components)}


def is_crawlo(path: Any) -> bool:
    """Whether an import path is Crawlo's."""
    return isinstance(path, str) and (path == "crawlo" or path.startswith("crawlo."))


@dataclass
class Resolved:
    """What the components of one setting became."""

    components: dict[Any, Any]
    #: Names of Crawlo's CSV and JSON pipelines that become feeds.
    feeds: list[str]
    #: Sentences about components that have no counterpart.
    notes: list[str]


def resolve(setting: str, value: Mapping[Any, Any] | Iterable[Any], joining: bool) -> Resolved:
    """Replace Crawlo's components in *value* by ours, or by Scrapy's.

    Those that Scrapy turns on itself are left out, but for extensions, whose place among
    the others does not matter.
    """
    entries = value if isinstance(value, Mapping) else priority_dict(setting, value)
    result = Resolved({}, [], [])
    for path, number in entries.items():
        if is_crawlo(path):
            _add_crawlo(result, setting, path, number, joining)
        else:
            result.components[path] = number
    return result


def _add_crawlo(result: Resolved, setting: str, path: str, number: Any, joining: bool) -> None:
    component = TABLES[setting].get(path.rpartition(".")[2])
    if component is None:
        result.notes.append(f"{path} in {setting} is not known here and was left out")
    elif component.ours and available(component.ours) and (joining or not component.joins):
        result.components[component.ours] = number
        if component.replaces:
            result.components[component.scrapy] = None
    elif component.scrapy == "FEEDS":
        if number is not None:
            result.feeds.append(component.name)
    elif component.scrapy.startswith("scrapy.extensions."):
        result.components[component.scrapy] = number
    elif not component.scrapy and number is not None:
        result.notes.append(f"{path} in {setting} was left out; instead: {component.instead}")


def path_of(component: Any) -> str:
    """The import path of a component, given as path or as class."""
    return component if isinstance(component, str) else global_object_name(component)
