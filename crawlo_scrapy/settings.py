"""Every setting of ours: name, type, default, unit, and one line on what it does.

The settings page of the documentation is made from `SETTINGS`. Components read their
settings through `get`, never with a default of their own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings


class SettingError(ValueError):
    """A setting has a value that it cannot have. The message names both, and what is allowed."""


@dataclass(frozen=True)
class Setting:
    """One row of the table.

    `kind` is one of ``bool``, ``int``, ``float``, ``str``, ``list``, ``dict``, or ``any`` for
    a value that its reader checks; `choices` limits a ``str``; `minimum` a number. A default
    of ``None`` means "not set".
    """

    name: str
    kind: str
    default: Any
    doc: str
    unit: str = ""
    choices: tuple[str, ...] = ()
    minimum: float | None = None


_TABLE = [
    # -- Redis ---------------------------------------------------------------------------
    Setting(
        "REDIS_URL", "str", None, "Address of Redis as one URL: redis://, rediss:// or unix://."
    ),
    Setting("REDIS_HOST", "str", "127.0.0.1", "Host name or address of Redis."),
    Setting("REDIS_PORT", "int", 6379, "Port of Redis.", minimum=1),
    Setting("REDIS_DB", "int", 0, "Number of the Redis database.", minimum=0),
    Setting("REDIS_USER", "str", None, "ACL user to log in as."),
    Setting("REDIS_PASSWORD", "str", None, "Password of Redis."),
    Setting(
        "REDIS_TLS",
        "bool",
        False,
        "Whether Redis, its Sentinels or its cluster are spoken to by TLS. rediss:// in REDIS_URL, "
        "or one of the files below, says so too.",
    ),
    Setting(
        "REDIS_TLS_CA_FILE",
        "str",
        None,
        "PEM file of the authorities that may have signed the server's certificate. Not set: "
        "those of the system.",
    ),
    Setting("REDIS_TLS_CERT_FILE", "str", None, "PEM file of the certificate that a worker shows."),
    Setting("REDIS_TLS_KEY_FILE", "str", None, "PEM file of its key, without a password."),
    Setting(
        "REDIS_TLS_CHECK_HOSTNAME",
        "bool",
        True,
        "Whether the name that a worker connects to must stand in the server's certificate.",
    ),
    Setting(
        "REDIS_TLS_VERIFY",
        "bool",
        True,
        "False: any certificate will do, and whoever can get between may read and change all.",
    ),
    Setting(
        "REDIS_SENTINEL_URLS",
        "list",
        [],
        "Addresses of Redis Sentinels: host:port, or a URL with a login of its own. Redis is the "
        "master that they name; REDIS_HOST, REDIS_PORT and REDIS_URL do not count then.",
    ),
    Setting("REDIS_SENTINEL_SERVICE", "str", "mymaster", "Name of the master among the Sentinels."),
    Setting("REDIS_SENTINEL_USER", "str", None, "ACL user to log in to the Sentinels as."),
    Setting("REDIS_SENTINEL_PASSWORD", "str", None, "Password of the Sentinels."),
    Setting(
        "REDIS_CLUSTER_NODES",
        "list",
        [],
        "Some nodes of a Redis Cluster, host:port; the others are found. REDIS_HOST, REDIS_PORT "
        "and REDIS_URL do not count then.",
    ),
    Setting(
        "REDIS_CONNECTION_POOL_SIZE",
        "int",
        20,
        "The most connections that one worker opens: one each for the queue (for each of its "
        "partitions), the heartbeat, the stats and alerts, and what is left for "
        "RedisStreamPipeline and RedisDedupPipeline, which have one each at least.",
        minimum=1,
    ),
    Setting(
        "CRAWLO_REDIS_TIMEOUT",
        "float",
        10.0,
        "How long one answer of Redis may take before the connection counts as broken.",
        unit="seconds",
        minimum=0.1,
    ),
    # -- The crawl -----------------------------------------------------------------------
    Setting(
        "PROJECT_NAME",
        "str",
        None,
        "First half of a crawl's name. Not set: BOT_NAME.",
    ),
    Setting(
        "CRAWLO_CRAWL_ID",
        "str",
        None,
        "Names one crawl of a spider. A worker that starts on a named crawl that is finished "
        "exits at once with status 0.",
    ),
    Setting(
        "CRAWLO_NODE_ID",
        "str",
        None,
        "Name of this worker in logs and in the registry. Not set: host, pid, a random part.",
    ),
    Setting(
        "CRAWLO_ROLE",
        "str",
        "auto",
        "auto: may seed. control: may seed. worker: never seeds.",
        choices=("auto", "control", "worker"),
    ),
    Setting(
        "CRAWLO_SEEDING",
        "str",
        "once",
        "once: the start requests enter the crawl once. every: each worker has its own.",
        choices=("once", "every"),
    ),
    Setting(
        "SCHEDULER_PERSIST",
        "bool",
        True,
        "False: the last worker to leave a finished crawl purges it, but for items in Redis that "
        "nobody has drained.",
    ),
    Setting(
        "SCHEDULER_FLUSH_ON_START",
        "bool",
        False,
        "Purge the crawl before it starts, but for items in Redis that nobody has drained. Refused "
        "while other workers live.",
    ),
    Setting(
        "CRAWLO_KEEP_ALIVE",
        "bool",
        False,
        "Whether workers stay, and the crawl is not finished, when it has nothing to do.",
    ),
    Setting(
        "DISTRIBUTED_WORKER_IDLE_TIMEOUT",
        "float",
        0.0,
        "After how long in a crawl that has nothing to do a worker that stays leaves after all. "
        "0: never.",
        unit="seconds",
        minimum=0.0,
    ),
    Setting(
        "CRAWLO_SEED_CRON",
        "str",
        None,
        "When start() is iterated again, once in the whole crawl: a cron expression, in UTC. "
        "Workers stay meanwhile, as with CRAWLO_KEEP_ALIVE. Needs the extra cron.",
    ),
    Setting(
        "CRAWLO_CLOSE_PAGES",
        "int",
        0,
        "Responses of all workers together after which the crawl is stopped. 0: no limit.",
        unit="responses",
        minimum=0,
    ),
    Setting(
        "CRAWLO_CLOSE_ITEMS",
        "int",
        0,
        "Items of all workers together after which the crawl is stopped. 0: no limit.",
        unit="items",
        minimum=0,
    ),
    Setting(
        "CRAWLO_CLOSE_ERRORS",
        "int",
        0,
        "Exceptions in callbacks of all workers together after which the crawl is stopped. 0: no "
        "limit.",
        minimum=0,
    ),
    Setting(
        "CRAWLO_CLOSE_SECONDS",
        "float",
        0.0,
        "Time since its beginning after which the crawl is stopped. 0: no limit.",
        unit="seconds",
        minimum=0.0,
    ),
    Setting(
        "CRAWLO_SHARED_COOKIES",
        "bool",
        False,
        "Whether the workers have their cookies in common: one logs in, and all are logged in.",
    ),
    # -- Start URLs from Redis (RedisSpider) ---------------------------------------------
    Setting(
        "REDIS_START_URLS_KEY",
        "str",
        "%(name)s:start_urls",
        "List, set, sorted set or stream that a RedisSpider reads, unless it has a redis_key. "
        "%(name)s is the spider's name.",
    ),
    Setting(
        "REDIS_START_URLS_BATCH_SIZE",
        "int",
        None,
        "How many entries of it a worker takes at a time. Not set: CONCURRENT_REQUESTS.",
        minimum=1,
    ),
    Setting("REDIS_ENCODING", "str", "utf-8", "Encoding of the entries."),
    Setting(
        "MAX_IDLE_TIME_BEFORE_CLOSE",
        "float",
        0.0,
        "After how long without entries and without work a RedisSpider closes. 0: never.",
        unit="seconds",
        minimum=0.0,
    ),
    # -- Queue and exchange --------------------------------------------------------------
    Setting(
        "CRAWLO_QUEUE_ORDER",
        "str",
        "fifo",
        "Order inside one priority.",
        choices=("fifo", "lifo"),
    ),
    Setting(
        "CRAWLO_PARTITIONS",
        "int",
        1,
        "How many partitions a crawl is divided into, each on another hash slot of a Redis "
        "Cluster. With a cluster: two or three for each of its masters. All workers of a crawl "
        "need the same number.",
        unit="partitions",
        minimum=1,
    ),
    Setting(
        "CRAWLO_PARTITION_BY",
        "str",
        "slot",
        "What a request's partition is chosen by. slot: a host is in one partition, with its "
        "limits. fingerprint: for a crawl of few hosts; slots have no limits then.",
        choices=("slot", "fingerprint"),
    ),
    Setting(
        "CRAWLO_MAX_ATTEMPTS",
        "int",
        5,
        "How many workers a request may take down before it becomes a dead letter.",
        minimum=1,
    ),
    Setting(
        "CRAWLO_PREFETCH",
        "int",
        None,
        "The most requests that a worker holds leased but not started. Not set: four times "
        "CONCURRENT_REQUESTS.",
        unit="requests",
        minimum=1,
    ),
    Setting(
        "CRAWLO_OUTBOX_LIMIT",
        "int",
        10_000,
        "How many requests may wait in a worker for Redis. Above it no new page is started.",
        unit="requests",
        minimum=1,
    ),
    Setting(
        "CRAWLO_SLOT_DELAY",
        "float",
        0.0,
        "Time between two requests to a slot (usually a host), whichever workers send them. It "
        "holds besides DOWNLOAD_DELAY, which is each worker's own. 0: none.",
        unit="seconds",
        minimum=0.0,
    ),
    Setting(
        "CRAWLO_SLOT_CONCURRENCY",
        "int",
        0,
        "The most requests to a slot that all workers together have in progress. 0: no limit.",
        unit="requests",
        minimum=0,
    ),
    Setting(
        "CRAWLO_SLOTS",
        "dict",
        {},
        'Limits of single slots: {"example.com": {"delay": 2.0, "concurrency": 1}}. What is left '
        "out follows the two settings above.",
    ),
    Setting(
        "CRAWLO_ROBOTS_DELAY",
        "bool",
        False,
        "Whether Crawl-delay and Request-rate of robots.txt become the delay of a slot, for all "
        "workers. With ROBOTSTXT_OBEY.",
    ),
    Setting(
        "CRAWLO_ROBOTS_TTL",
        "float",
        86_400.0,
        "For how long a robots.txt that one worker has fetched serves all.",
        unit="seconds",
        minimum=1.0,
    ),
    Setting(
        "CRAWLO_AUTOTHROTTLE",
        "bool",
        False,
        "Whether the delay of a slot follows its latency, as all workers see it. The crawl has "
        "AUTOTHROTTLE_START_DELAY, _MAX_DELAY and _TARGET_CONCURRENCY then; "
        "AUTOTHROTTLE_ENABLED is each worker's own.",
    ),
    Setting(
        "CRAWLO_EXCHANGE_INTERVAL",
        "float",
        0.2,
        "The longest time that finished work waits before Redis is told.",
        unit="seconds",
        minimum=0.001,
    ),
    Setting(
        "CRAWLO_HEARTBEAT_INTERVAL",
        "float",
        3.0,
        "How often a worker says that it lives.",
        unit="seconds",
        minimum=0.05,
    ),
    Setting(
        "CRAWLO_WORKER_TIMEOUT",
        "float",
        15.0,
        "A worker that has been silent for so long is dead, and its requests are taken up by "
        "others.",
        unit="seconds",
        minimum=0.1,
    ),
    Setting(
        "CRAWLO_LOCAL_CACHE_SIZE",
        "int",
        100_000,
        "How many URLs a worker remembers to have seen without asking Redis.",
        unit="URLs",
        minimum=0,
    ),
    Setting(
        "CRAWLO_SEEN",
        "str",
        "exact",
        "What remembers the URLs that a crawl has seen: a set that never errs, at 9 to 13 bytes a "
        "URL, or a Bloom filter, at 2 to 4 bytes, that takes a small share of new URLs for seen. "
        "Chosen when the crawl begins.",
        choices=("exact", "bloom"),
    ),
    Setting(
        "REDIS_TTL",
        "float",
        0.0,
        "After how long a URL that was seen is new again; at most a quarter later. It holds for "
        "each URL, not for the seen set as a whole. 0: never.",
        unit="seconds",
        minimum=0,
    ),
    Setting(
        "CRAWLO_SEEN_URLS",
        "bool",
        False,
        "Whether the URLs themselves are kept in Redis too, so that `crawlo-scrapy seen forget` "
        "finds them by a pattern. Costs the length of each URL and some 20 bytes.",
    ),
    Setting(
        "CRAWLO_RETRY_BACKOFF",
        "float",
        0.0,
        "Pause before a failed download is tried again; it doubles with each failure, and half of "
        "it is random. 0: no pause but the one that the site asks for by Retry-After.",
        unit="seconds",
        minimum=0,
    ),
    Setting(
        "CRAWLO_RETRY_DELAY_MAX",
        "float",
        3600.0,
        "The longest pause before a failed download is tried again, whatever the site asks for. "
        "0: no pause.",
        unit="seconds",
        minimum=0,
    ),
    Setting(
        "CRAWLO_DEAD_LETTER_FAILED",
        "bool",
        False,
        "Whether a request whose downloads have failed RETRY_TIMES times and once more is kept as "
        "a dead letter.",
    ),
    # -- Serialisation -------------------------------------------------------------------
    Setting(
        "CRAWLO_SIGNING_KEY",
        "str",
        None,
        "Secret that signs payloads. With it, objects that only pickle can carry are pickled.",
    ),
    Setting(
        "CRAWLO_REQUEST_CLASSES",
        "list",
        [],
        "Import paths of request classes that may be rebuilt from Redis, besides Scrapy's.",
    ),
    Setting(
        "CRAWLO_ALLOWED_SCHEMES",
        "list",
        ["http", "https"],
        "What the URL of a request in Redis may begin with. Another one that is found there "
        "becomes a dead letter; the spider's own stay with the worker that made them.",
    ),
    Setting(
        "CRAWLO_MAX_REQUEST_SIZE",
        "int",
        1024 * 1024,
        "How large a request in Redis may be, and an entry of a start URL key. A larger one that "
        "is found there becomes a dead letter; the spider's own stay with the worker that made "
        "them.",
        unit="bytes",
        minimum=1024,
    ),
    # -- Names that Crawlo's users know --------------------------------------------------
    Setting(
        "CRAWLO_STRICT",
        "bool",
        False,
        "Whether an option without an equivalent, or a name close to a known one, stops the start.",
    ),
    Setting(
        "QUEUE_PERSISTENCE",
        "bool",
        True,
        "False: the last worker to leave removes what is queued and keeps what was seen.",
    ),
    Setting(
        "STATS_PERSISTENCE",
        "bool",
        True,
        "False: the shared stats go when the last worker leaves.",
    ),
    Setting("STATS_RESET_ON_START", "bool", False, "Whether a crawl's shared stats start at zero."),
    Setting(
        "STATS_DUMP_INTERVAL",
        "float",
        None,
        "How often the crawl's stats are logged.",
        unit="seconds",
        minimum=1,
    ),
    Setting(
        "CRAWLO_STATS_INTERVAL",
        "float",
        5.0,
        "How often a worker writes its stats to Redis. What a killed worker counted since its "
        "last write is not in the crawl's stats.",
        unit="seconds",
        minimum=0.05,
    ),
    Setting(
        "CRAWLO_STATS_HISTORY",
        "int",
        10,
        "How many runs of a crawl keep their stats.",
        unit="runs",
        minimum=1,
    ),
    Setting(
        "CRAWLO_HISTORY_INTERVAL",
        "float",
        60.0,
        "Time between two samples of a crawl's pages, items, errors and queue.",
        unit="seconds",
        minimum=1,
    ),
    Setting(
        "CRAWLO_HISTORY_LENGTH",
        "float",
        86_400.0,
        "For how long samples are kept.",
        unit="seconds",
        minimum=60,
    ),
    Setting(
        "MAX_RUNNING_SPIDERS", "int", 3, "How many spiders `run all` has under way.", minimum=1
    ),
    Setting(
        "BIND_ADDRESS",
        "str",
        None,
        "The server's: address that Redis listens on, for `crawlo-scrapy redis-conf`.",
    ),
    Setting(
        "REQUIREPASS",
        "str",
        None,
        "The server's: its password, for `crawlo-scrapy redis-conf`. A worker without "
        "REDIS_PASSWORD uses it.",
    ),
    Setting(
        "BLOOM_FILTER_CAPACITY",
        "int",
        1_000_000,
        "URLs that the Bloom filter of CRAWLO_SEEN is made for. With more it grows.",
        minimum=1,
    ),
    Setting(
        "BLOOM_FILTER_ERROR_RATE",
        "float",
        0.001,
        "Share of new URLs that the Bloom filter of CRAWLO_SEEN takes for seen at most; below 0.5.",
        minimum=0.0,
    ),
    Setting("LOG_INCLUDE_NODE_ID", "bool", False, "Whether each log line names its worker."),
    Setting("LOG_JSON", "bool", False, "Whether each log line is a JSON object."),
    Setting(
        "LOG_MAX_BYTES",
        "int",
        None,
        "Size at which LOG_FILE is rotated. 0 or not set: never.",
        unit="bytes",
        minimum=0,
    ),
    Setting(
        "LOG_BACKUP_COUNT",
        "int",
        5,
        "How many rotated log files are kept. 0: LOG_FILE is not rotated.",
        minimum=0,
    ),
    Setting("HEALTH_CHECK_ENABLED", "bool", True, "Whether a worker reports on its health."),
    Setting(
        "HEALTH_CHECK_INTERVAL",
        "float",
        60.0,
        "How often it does.",
        unit="seconds",
        minimum=0.1,
    ),
    Setting(
        "CRAWLO_HEALTH_FILE",
        "str",
        None,
        "File that its state is written to each time. May hold {spider}, {node}, {project}.",
    ),
    Setting(
        "PROMETHEUS_METRICS_PORT",
        "int",
        9100,
        "Port that metrics are served on, once it is set; if others have it, the next that is "
        "free. 0: any.",
        minimum=0,
    ),
    Setting(
        "PROMETHEUS_METRICS_HOST",
        "str",
        "127.0.0.1",
        "Address that metrics are served on. 0.0.0.0: all of this host's.",
    ),
    Setting("PROMETHEUS_LABELS", "dict", {}, "Labels that every metric has besides ours."),
    Setting(
        "PROMETHEUS_PUSHGATEWAY_URL",
        "str",
        None,
        "Pushgateway that metrics are pushed to. A user and password in it are for basic "
        "authentication.",
    ),
    Setting(
        "PROMETHEUS_PUSH_INTERVAL",
        "float",
        15.0,
        "How often they are.",
        unit="seconds",
        minimum=0.1,
    ),
    Setting(
        "CRAWLO_ALERTS",
        "any",
        [],
        "Rules about the crawl that somebody is told of: a list of names and dicts.",
    ),
    Setting("CRAWLO_ALERT_WEBHOOK_URLS", "list", [], "URLs that alerts are posted to, as JSON."),
    Setting(
        "CRAWLO_ALERT_SLACK_URLS",
        "list",
        [],
        "Incoming webhooks of Slack, or of what understands the same.",
    ),
    Setting(
        "CRAWLO_ALERT_MAIL_TO",
        "list",
        [],
        "Addresses that alerts are mailed to, through the server of Scrapy's MAIL_* settings.",
    ),
    Setting(
        "CRAWLO_ALERT_INTERVAL",
        "float",
        10.0,
        "How often one of the workers looks whether a rule holds.",
        unit="seconds",
        minimum=0.1,
    ),
    Setting(
        "CRAWLO_ALERT_QUIET",
        "float",
        300.0,
        "How long an alert that was raised is not raised again, if a rule does not say otherwise.",
        unit="seconds",
        minimum=0,
    ),
    # -- MongoDB -------------------------------------------------------------------------
    Setting("MONGO_URI", "str", "mongodb://127.0.0.1:27017", "Address of MongoDB."),
    Setting("MONGO_DB", "str", "crawlo_db", "Database that items go to."),
    Setting(
        "MONGO_COLLECTION",
        "any",
        None,
        "Collection of the items, or a dict of item class to collection. May hold {spider}, "
        "{node}, {project} and fields of the item. Not set: the spider's name.",
    ),
    Setting("MONGO_BATCH_SIZE", "int", 500, "Items in one write.", unit="items", minimum=1),
    Setting("MONGO_USE_BATCH", "bool", True, "Whether items are written in batches."),
    Setting(
        "MONGO_DEDUPLICATE_MODE",
        "str",
        "upsert",
        "upsert: an item that is there gets the new fields. replace: it becomes the new item. "
        "ignore: it stays. insert: each item is stored, repeats too.",
        choices=("upsert", "replace", "ignore", "insert"),
    ),
    Setting("MONGO_MAX_POOL_SIZE", "int", 100, "The most connections of one worker.", minimum=1),
    Setting("MONGO_MIN_POOL_SIZE", "int", 0, "Connections that are kept open.", minimum=0),
    Setting(
        "MONGO_CONNECT_TIMEOUT_MS",
        "int",
        5000,
        "How long connecting may take.",
        unit="milliseconds",
        minimum=1,
    ),
    Setting(
        "MONGO_SOCKET_TIMEOUT_MS",
        "int",
        30_000,
        "How long one answer may take.",
        unit="milliseconds",
        minimum=1,
    ),
    Setting(
        "MONGO_EXECUTE_RETRY_DELAY",
        "float",
        0.5,
        "Pause before the first new try; it doubles.",
        unit="seconds",
        minimum=0,
    ),
    # -- MySQL ---------------------------------------------------------------------------
    Setting("MYSQL_HOST", "str", "localhost", "Host of MySQL or MariaDB."),
    Setting("MYSQL_PORT", "int", 3306, "Its port.", minimum=1),
    Setting("MYSQL_USER", "str", "root", "User to log in as."),
    Setting("MYSQL_PASSWORD", "str", "", "Password of that user."),
    Setting("MYSQL_DB", "str", "crawlo_db", "Database that items go to."),
    Setting(
        "MYSQL_TABLE",
        "any",
        None,
        "Table of the items, or a dict of item class to table. May hold {spider}, {node}, "
        "{project} and fields of the item. Not set: the spider's name.",
    ),
    Setting("MYSQL_BATCH_SIZE", "int", 500, "Items in one statement.", unit="items", minimum=1),
    Setting(
        "MYSQL_BATCH_TIMEOUT",
        "float",
        90.0,
        "How long one statement may take.",
        unit="seconds",
        minimum=0.1,
    ),
    Setting("MYSQL_USE_BATCH", "bool", True, "Whether items are written in batches."),
    Setting("MYSQL_AUTO_UPDATE", "bool", False, "Whether an item that is there is replaced."),
    Setting("MYSQL_INSERT_IGNORE", "bool", True, "Whether an item that is there is left as it is."),
    Setting("MYSQL_UPDATE_COLUMNS", "list", [], "Columns that are updated when an item is there."),
    Setting(
        "MYSQL_CHECK_TABLE_EXISTS", "bool", True, "Whether the table is looked for at the start."
    ),
    Setting("MYSQL_POOL_MIN", "int", 1, "Connections that are kept open.", minimum=0),
    Setting("MYSQL_POOL_MAX", "int", 10, "The most connections of one worker.", minimum=1),
    Setting(
        "MYSQL_EXECUTE_RETRY_DELAY",
        "float",
        0.8,
        "Pause before the first new try; it doubles.",
        unit="seconds",
        minimum=0,
    ),
    # -- Items ---------------------------------------------------------------------------
    Setting(
        "CRAWLO_ITEM_BATCH_SIZE",
        "int",
        500,
        "The most items in one write, for storages without a setting of their own.",
        unit="items",
        minimum=1,
    ),
    Setting(
        "CRAWLO_ITEM_BATCH_BYTES",
        "int",
        4 * 1024 * 1024,
        "The most bytes in one write; a larger item goes alone.",
        unit="bytes",
        minimum=1,
    ),
    Setting(
        "CRAWLO_ITEM_BATCH_INTERVAL",
        "float",
        0.05,
        "How long an item waits for a running write before another is started beside it. "
        "While none runs, an item is written at once.",
        unit="seconds",
        minimum=0.0,
    ),
    Setting(
        "CRAWLO_ITEM_CONCURRENT_WRITES",
        "int",
        2,
        "The most writes of one pipeline at the same time.",
        minimum=1,
    ),
    Setting(
        "CRAWLO_ITEM_BUFFER_BYTES",
        "int",
        64 * 1024 * 1024,
        "Bytes of items that may wait for a pipeline's storage. Above it further items wait "
        "outside, and so do their pages.",
        unit="bytes",
        minimum=1,
    ),
    Setting(
        "CRAWLO_ITEM_RETRY_DELAY",
        "float",
        0.2,
        "Pause before a write is tried again while the storage is away; it doubles.",
        unit="seconds",
        minimum=0.001,
    ),
    Setting(
        "CRAWLO_ITEM_RETRY_MAX_DELAY",
        "float",
        30.0,
        "The longest such pause.",
        unit="seconds",
        minimum=0.001,
    ),
    Setting(
        "CRAWLO_ITEM_FSYNC",
        "bool",
        False,
        "Whether files of items survive a power cut, not only a killed worker.",
    ),
    Setting(
        "CRAWLO_ITEM_KEY",
        "list",
        [],
        "Fields by which RedisDedupPipeline and CRAWLO_ITEMS_ONCE know an item again. Not set: "
        "all fields.",
    ),
    Setting(
        "CRAWLO_ITEMS_LIMIT",
        "int",
        1_000_000,
        "Items that may wait in Redis to be drained. At the limit workers wait; nothing is "
        "trimmed. 0: no limit.",
        unit="items",
        minimum=0,
    ),
    Setting(
        "CRAWLO_ITEMS_ONCE",
        "bool",
        False,
        "Whether RedisStreamPipeline stores an item once in a crawl, however often it comes.",
    ),
    Setting(
        "CRAWLO_ITEMS_FORMAT",
        "str",
        "json",
        "How items stand in the stream: json for any reader, msgpack keeps every type.",
        choices=("json", "msgpack"),
    ),
    Setting(
        "CRAWLO_DEAD_ITEMS_FILE",
        "str",
        "dead_items/{spider}.jsonl",
        "File for items that their storage refuses. May hold {spider}, {node}, {project}.",
    ),
    Setting(
        "JSONLINES_FILE",
        "str",
        "items/{spider}-{node}.jsonl",
        "File of JsonLinesPipeline. May hold {spider}, {node}, {project}.",
    ),
    Setting(
        "JSON_FILE",
        "str",
        "items/{spider}-{node}.json",
        "File of JsonPipeline, one object a line. May hold {spider}, {node}, {project}.",
    ),
    Setting(
        "CSV_FILE",
        "str",
        "items/{spider}-{node}.csv",
        "File of CsvPipeline. May hold {spider}, {node}, {project}.",
    ),
    Setting("CSV_FIELDNAMES", "list", [], "Columns of CsvPipeline. Not set: the first item's."),
    Setting("CSV_DELIMITER", "str", ",", "What stands between two values."),
    Setting("CSV_QUOTECHAR", "str", '"', "What stands around values that need it."),
    Setting("CSV_INCLUDE_HEADERS", "bool", True, "Whether the file starts with its columns."),
    Setting("MONGO_DATABASE", "str", None, "Database that items go to. Not set: MONGO_DB."),
    Setting(
        "MONGO_UPSERT_KEY",
        "list",
        [],
        "Fields by which an item is known again; they get a unique index. Not set: its _id, "
        "else a fingerprint of all fields.",
    ),
    Setting(
        "MONGO_WRITE_CONCERN",
        "dict",
        {},
        'Write concern, like {"w": "majority", "j": True}. Not set: that of MONGO_URI.',
    ),
    Setting(
        "MYSQL_UNIQUE_KEY",
        "list",
        [],
        "Fields that the column item_fingerprint is made from. Not set: all fields.",
    ),
    Setting(
        "MYSQL_CREATE_TABLE",
        "bool",
        False,
        "Whether a missing table is made from the fields of the first item.",
    ),
]

SETTINGS: dict[str, Setting] = {setting.name: setting for setting in _TABLE}

_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off", ""}


def get(settings: BaseSettings, name: str) -> Any:
    """Return the value of one of our settings, converted to its type.

    Raises `SettingError` when the value does not parse or is not allowed.
    """
    setting = SETTINGS[name]
    value = settings.get(name)
    if value is None:
        return setting.default
    try:
        return convert(setting, value)
    except (TypeError, ValueError) as exc:
        raise SettingError(f"{name} is {_shown(name, value)}: {exc}") from None


def convert(setting: Setting, value: Any) -> Any:
    """Convert *value*, often a string from a command line, to the setting's type."""
    result = _parse(setting.kind, value)
    if setting.choices and result not in setting.choices:
        raise ValueError(f"must be one of {', '.join(setting.choices)}")
    if setting.minimum is not None and result < setting.minimum:
        raise ValueError(f"must be at least {setting.minimum:g}")
    return result


def _parse(kind: str, value: Any) -> Any:
    if kind == "bool":
        text = str(value).strip().lower()
        if text in _TRUE or text in _FALSE:
            return text in _TRUE
        raise ValueError("must be True or False")
    if kind in ("int", "float"):
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise ValueError("must be a number") from None
        if kind == "float":
            return number
        if number != int(number):
            raise ValueError("must be a whole number")
        return int(number)
    if kind == "list":
        if isinstance(value, str):
            return [part.strip() for part in value.split(",") if part.strip()]
        return list(value)
    if kind == "dict":
        if isinstance(value, str):
            value = json.loads(value)
        return dict(value)
    if kind == "any":
        return value
    return str(value)


def _shown(name: str, value: Any) -> str:
    secret = any(word in name for word in ("PASSWORD", "URL", "URI", "KEY", "TOKEN", "PASS"))
    return "(not shown)" if secret else repr(value)
