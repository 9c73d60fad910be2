"""Crawlo's options, as data: what each one becomes here.

Mapping, validation, the documentation's page and ``crawlo-scrapy settings`` are all made from
this table. Every option belongs to one of three classes:

* **mapped**: it becomes one or more Scrapy settings (or a setting of ours with another name);
* **ours**: a component of ours reads it under its own name (its row is in `crawlo_scrapy.settings`);
* **none**: known, and without an equivalent: the sentence says what to use instead.
"""
# The rows are longer than a line of code on purpose: one option, one line.
# ruff: noqa: E501

from __future__ import annotations

from crawlo_scrapy.config.option import Option, mapped_rows, ours_rows, without_rows

# name | type | becomes | how | sentence
# Where several options become one setting, the first row wins at equal priority.
_MAPPED = """
CONCURRENCY | int 1.. | CONCURRENT_REQUESTS CONCURRENT_REQUESTS_PER_DOMAIN | copy | Requests under way at once. Sets the per-domain limit too: Scrapy's default of 8 would cap a crawl of one site.
CONCURRENT_REQUESTS | int 1.. | CONCURRENT_REQUESTS | same | Scrapy's own name.
DOWNLOAD_DELAY | float 0.. | DOWNLOAD_DELAY | same | Seconds between two requests to one domain. Crawlo 1.4 slept in each task; Scrapy spaces the requests, so the same number is gentler here.
RANDOM_RANGE | range | DOWNLOAD_DELAY_JITTER RANDOMIZE_DOWNLOAD_DELAY | jitter | Factors between which a delay is drawn; [0.5, 1.5] is a jitter of 0.5. A range that is not symmetric about 1 has no equivalent.
RANDOMNESS | bool | DOWNLOAD_DELAY_JITTER RANDOMIZE_DOWNLOAD_DELAY | randomness | Whether delays vary at random. Before Scrapy 2.19: RANDOMIZE_DOWNLOAD_DELAY.
RANDOMIZE_DOWNLOAD_DELAY | bool | RANDOMIZE_DOWNLOAD_DELAY | same | Scrapy's older name for RANDOMNESS.
DOWNLOAD_DELAY_OVERRIDES | dict | DOWNLOAD_SLOTS | slots | Delay in seconds for single domains.
DOWNLOAD_TIMEOUT | float 0.001.. | DOWNLOAD_TIMEOUT | same | Seconds that a download may take.
DOWNLOAD_MAXSIZE | int 0.. | DOWNLOAD_MAXSIZE | same | The largest response, in bytes; 0 is no limit.
DOWNLOAD_WARN_SIZE | int 0.. | DOWNLOAD_WARNSIZE | copy | A response larger than this is logged, in bytes.
DOWNLOAD_STATS | bool | DOWNLOADER_STATS | copy | Whether downloads are counted.
DOWNLOADER_STATS | bool | DOWNLOADER_STATS | same | Scrapy's own name.
VERIFY_SSL | bool | DOWNLOAD_VERIFY_CERTIFICATES | verify | Whether certificates are checked. Scrapy 2.13 to 2.15 cannot be told to: there it warns.
USER_AGENT | str | USER_AGENT | same | The User-Agent header.
DEFAULT_REQUEST_HEADERS | dict | DEFAULT_REQUEST_HEADERS | same | Headers of every request.
AIOHTTP_AUTO_DECOMPRESS | bool | COMPRESSION_ENABLED | copy | Whether compressed responses are asked for and unpacked.
HTTPX_FOLLOW_REDIRECTS | bool | REDIRECT_ENABLED | copy | Whether redirects are followed.
CONNECTION_POOL_LIMIT | int 0.. | | nothing | Not needed: Scrapy's pool follows its concurrency.
CONNECTION_POOL_LIMIT_PER_HOST | int 0.. | | nothing | Not needed: Scrapy's pool follows its concurrency.
SPIDER_MODULES | list | SPIDER_MODULES | same | Where spiders are looked for.
SPIDER_LOADER_WARN_ONLY | bool | SPIDER_LOADER_WARN_ONLY | same | Whether a spider module that cannot be imported is only a warning.
ALLOWED_DOMAINS | list | | allowed_domains | Becomes allowed_domains of a spider that has none of its own.
DEPTH_PRIORITY | int | DEPTH_PRIORITY | border | Crawlo's positive value goes depth first, Scrapy's breadth first. CrawloConfig, --config files and CRAWLO_DEPTH_PRIORITY have Crawlo's meaning and are negated; settings.py, custom_settings and -s have Scrapy's.
MAX_RETRY_TIMES | int 0.. | RETRY_TIMES | copy | How often a failed download is tried again.
DOWNLOAD_RETRY_TIMES | int 0.. | RETRY_TIMES | copy | As MAX_RETRY_TIMES.
RETRY_TIMES | int 0.. | RETRY_TIMES | same | Scrapy's own name.
RETRY_STATUS_CODES | codes | RETRY_HTTP_CODES | copy | HTTP statuses that are tried again.
RETRY_HTTP_CODES | codes | RETRY_HTTP_CODES | same | Scrapy's own name.
IGNORE_HTTP_CODES | codes | RETRY_HTTP_CODES | remove | HTTP statuses that are not tried again: taken out of RETRY_HTTP_CODES.
RETRY_PRIORITY | int | RETRY_PRIORITY_ADJUST | negate | Added to the priority of a retry, with the sign turned round: in Crawlo the lower number goes first.
RETRY_EXCEPTIONS | list | RETRY_EXCEPTIONS | same | Exceptions after which a download is tried again.
ALLOWED_RESPONSE_CODES | codes | HTTPERROR_ALLOWED_CODES | copy | Statuses besides 2xx that reach the callbacks.
DENIED_RESPONSE_CODES | codes | HTTPERROR_ALLOWED_CODES | remove | Statuses that do not reach the callbacks: taken out of HTTPERROR_ALLOWED_CODES.
MIDDLEWARES | components | DOWNLOADER_MIDDLEWARES | components | A list becomes a priority dict in list order; Crawlo's own are Scrapy's built-in ones, which are on already.
PIPELINES | components | ITEM_PIPELINES | components | A list becomes a priority dict in list order; a crawlo path becomes our pipeline, or a feed for the CSV and JSON ones.
EXTENSIONS | components | EXTENSIONS | components | A list becomes a priority dict in list order; a crawlo path becomes our extension or Scrapy's. In a settings.py that plain `scrapy` reads it must be a dict.
LOG_STATS_INTERVAL | float 0.. | LOGSTATS_INTERVAL | copy | Seconds between two lines of progress.
INTERVAL | float 0.. | LOGSTATS_INTERVAL | copy | As LOG_STATS_INTERVAL.
PROGRESS_REPORT_INTERVAL | float 0.. | LOGSTATS_INTERVAL | copy | As LOG_STATS_INTERVAL.
MEMORY_MONITOR_ENABLED | bool | MEMUSAGE_ENABLED | copy | Whether memory is watched.
MEMORY_MONITOR_INTERVAL | float 0.1.. | MEMUSAGE_CHECK_INTERVAL_SECONDS | copy | Seconds between two looks at memory.
MEMORY_USAGE_CHECK_INTERVAL | float 0.1.. | MEMUSAGE_CHECK_INTERVAL_SECONDS | copy | As MEMORY_MONITOR_INTERVAL.
MEMORY_USAGE_WARNING_THRESHOLD | float 0.. | MEMUSAGE_WARNING_MB | megabytes | Megabytes of memory at which a worker warns.
MEMORY_WARNING_THRESHOLD | float 0..100 | MEMUSAGE_WARNING_MB | percent | The same in percent of the machine's memory, or of the container's limit.
MEMORY_LIMIT | size | MEMUSAGE_LIMIT_MB | copy | Memory at which a worker stops: '2GB', '512MB', or bytes.
MEMORY_CRITICAL_THRESHOLD | float 0..100 | MEMUSAGE_LIMIT_MB | percent | The same in percent of the machine's memory, or of the container's limit.
FILTER_DEBUG | bool | DUPEFILTER_DEBUG | copy | Whether every duplicate is logged.
LOG_LEVEL | level | LOG_LEVEL | same | The least level that is logged.
LOG_FORMAT | str | LOG_FORMAT | same | Format of a log line.
LOG_ENCODING | str | LOG_ENCODING | same | Encoding of the log file.
LOG_FILE | str | LOG_FILE | same | File that the log goes to.
STATS_DUMP | bool | STATS_DUMP | same | Whether the stats are logged at the end.
RUN_MODE | choice standalone distributed auto | SCHEDULER DUPEFILTER_CLASS STATS_CLASS | mode | standalone: Scrapy's own components. distributed: ours. auto: ours where Redis answers, else Scrapy's; the log says which and why.
QUEUE_TYPE | choice memory redis redis_stream stream auto | SCHEDULER DUPEFILTER_CLASS STATS_CLASS | mode | memory: as RUN_MODE standalone. redis: as distributed. auto: as RUN_MODE says, or auto.
FILTER_CLASS | str | DUPEFILTER_CLASS CRAWLO_SEEN | filter | A class of the project's is used as it is. Crawlo's become the filter that fits the run mode; with a Bloom filter among them CRAWLO_SEEN is bloom.
FILTER_TYPE | choice memory redis bloom auto | DUPEFILTER_CLASS CRAWLO_SEEN | filter | As FILTER_CLASS, by a short name. bloom: CRAWLO_SEEN is bloom.
STATS_BACKEND | choice memory redis prometheus | STATS_CLASS | stats_backend | memory: each worker counts for itself. redis: the workers' stats are added up. prometheus: they are, and each worker serves metrics on PROMETHEUS_METRICS_PORT.
CSV_FILE | str | FEEDS | feed csv | File for items as CSV.
CSV_DICT_FILE | str | FEEDS | feed csv | As CSV_FILE.
CSV_BATCH_FILE | str | FEEDS | feed csv | As CSV_FILE.
CSV_DELIMITER | str | FEEDS | feed_option | Delimiter of the CSV file.
CSV_QUOTECHAR | str | FEEDS | feed_option | Quote character of the CSV file.
CSV_FIELDNAMES | list | FEEDS | feed_option | Columns of the CSV file, in order.
CSV_INCLUDE_HEADERS | bool | FEEDS | feed_option | Whether the CSV file starts with a line of names.
CSV_BATCH_SIZE | int 1.. | | nothing | Not needed: Scrapy's exporter buffers.
CSV_USE_BUFFER | bool | | nothing | Not needed: Scrapy's exporter buffers.
CSV_EXTRASACTION | choice ignore raise | | nothing | Not needed: fields that are not among CSV_FIELDNAMES are left out.
JSON_FILE | str | FEEDS | feed jsonlines | File for items, one JSON object a line, as Crawlo's JsonPipeline wrote it.
JSONLINES_FILE | str | FEEDS | feed jsonlines | File for items, one JSON object a line.
JSON_ARRAY_FILE | str | FEEDS | feed json | File for items as one JSON array.
JSON_ARRAY_MAX_ITEMS | int 1.. | | nothing | Not needed: Scrapy writes the array as it goes and keeps nothing in memory.
REDIS_USERNAME | str | REDIS_USER | copy | As REDIS_USER.
REDIS_CLUSTER_ENABLED | bool | REDIS_CLUSTER_NODES | cluster | True without REDIS_CLUSTER_NODES: REDIS_HOST and REDIS_PORT are a node of a cluster.
MYSQL_DATABASE | str | MYSQL_DB | copy | As MYSQL_DB.
CLEANUP_FP | bool | SCHEDULER_PERSIST | cleanup | True: the seen set goes when the crawl is finished.
CLUSTER_HEARTBEAT_INTERVAL | float 0.05.. | CRAWLO_HEARTBEAT_INTERVAL | copy | Seconds between two beats of a worker.
CLUSTER_WORKER_TIMEOUT | float 0.1.. | CRAWLO_WORKER_TIMEOUT | copy | Seconds of silence after which a worker counts as dead.
STREAM_DELIVERY_COUNT_LIMIT | int 1.. | CRAWLO_MAX_ATTEMPTS | copy | How many workers a request may take down before it becomes a dead letter.
QUEUE_MAX_RETRIES | int 0.. | CRAWLO_MAX_ATTEMPTS | plus_one | The same, counted without the first attempt.
WORKER_ID | str | CRAWLO_NODE_ID | copy | Name of this worker.
CRAWLO_MODE | choice standalone distributed auto | RUN_MODE | copy | RUN_MODE, as an environment variable.
CRAWLO_CONCURRENCY | int 1.. | CONCURRENCY | copy | CONCURRENCY, as an environment variable.
CRAWLO_PROJECT_NAME | str | PROJECT_NAME | copy | PROJECT_NAME, as an environment variable.
CRAWLO_REDIS_HOST | str | REDIS_HOST | copy | REDIS_HOST, as an environment variable.
CRAWLO_REDIS_PORT | int 1..65535 | REDIS_PORT | copy | REDIS_PORT, as an environment variable.
CRAWLO_REDIS_PASSWORD | str | REDIS_PASSWORD | copy | REDIS_PASSWORD, as an environment variable.
CRAWLO_REDIS_DB | int 0.. | REDIS_DB | copy | REDIS_DB, as an environment variable.
CRAWLO_DEBUG | bool | LOG_LEVEL | debug | True: LOG_LEVEL is DEBUG.
VERSION | str | | nothing | Crawlo's own version: nothing to set.
"""

# The module that reads them -> options. Type, default and sentence stand in crawlo_scrapy.settings.
# An option whose reader is not in this version is reported as one that has no effect.
_OURS = {
    "crawlo_scrapy.store.client": """
        REDIS_URL REDIS_HOST REDIS_PORT REDIS_DB REDIS_USER REDIS_PASSWORD
        REDIS_CONNECTION_POOL_SIZE REDIS_SENTINEL_URLS REDIS_SENTINEL_SERVICE
        REDIS_CLUSTER_NODES""",
    "crawlo_scrapy.scheduler": """
        PROJECT_NAME SCHEDULER_PERSIST QUEUE_PERSISTENCE DISTRIBUTED_WORKER_IDLE_TIMEOUT""",
    "crawlo_scrapy.cli": "BIND_ADDRESS REQUIREPASS MAX_RUNNING_SPIDERS",
    "crawlo_scrapy.store.bloom": "BLOOM_FILTER_CAPACITY BLOOM_FILTER_ERROR_RATE",
    "crawlo_scrapy.dupefilter": "REDIS_TTL",
    "crawlo_scrapy.statssharing": "STATS_PERSISTENCE STATS_RESET_ON_START",
    "crawlo_scrapy.extensions.stats": "STATS_DUMP_INTERVAL",
    "crawlo_scrapy.extensions.health": "HEALTH_CHECK_ENABLED HEALTH_CHECK_INTERVAL",
    "crawlo_scrapy.extensions.nodelog": "LOG_MAX_BYTES LOG_BACKUP_COUNT LOG_INCLUDE_NODE_ID",
    "crawlo_scrapy.extensions.metrics": "PROMETHEUS_METRICS_PORT PROMETHEUS_LABELS",
    "crawlo_scrapy.pipelines.mongodb": """
        MONGO_URI MONGO_DB MONGO_DATABASE MONGO_COLLECTION MONGO_BATCH_SIZE MONGO_USE_BATCH
        MONGO_DEDUPLICATE_MODE MONGO_MAX_POOL_SIZE MONGO_MIN_POOL_SIZE MONGO_CONNECT_TIMEOUT_MS
        MONGO_SOCKET_TIMEOUT_MS MONGO_EXECUTE_RETRY_DELAY""",
    "crawlo_scrapy.pipelines.mysql": """
        MYSQL_HOST MYSQL_PORT MYSQL_USER MYSQL_PASSWORD MYSQL_DB MYSQL_TABLE MYSQL_BATCH_SIZE
        MYSQL_BATCH_TIMEOUT MYSQL_USE_BATCH MYSQL_AUTO_UPDATE MYSQL_INSERT_IGNORE
        MYSQL_UPDATE_COLUMNS MYSQL_CHECK_TABLE_EXISTS MYSQL_POOL_MIN MYSQL_POOL_MAX
        MYSQL_EXECUTE_RETRY_DELAY""",
}

# What to use instead -> options. `name@package` is that package's own setting too: no warning
# where the project uses it.
_WITHOUT = {
    "Install scrapy-playwright and set its PLAYWRIGHT_* settings": """
        BROWSER_AUTO_SCROLL BROWSER_BLOCK_RESOURCES BROWSER_HEADLESS BROWSER_HUMANIZE
        BROWSER_LOAD_TIMEOUT BROWSER_MAX_PAGES BROWSER_PROXY BROWSER_SCROLL_DELAY
        BROWSER_STEALTH_LEVEL BROWSER_TIMEOUT BROWSER_VIEWPORT_HEIGHT BROWSER_VIEWPORT_WIDTH
        BROWSER_WAIT_FOR_ELEMENT BROWSER_WAIT_STRATEGY BROWSER_WAIT_TIMEOUT CAMOUFOX_HUMANIZE
        CAMOUFOX_SOLVE_CLOUDFLARE CLOAKBROWSER_ARGS CLOAKBROWSER_BACKEND CLOAKBROWSER_FINGERPRINT
        CLOAKBROWSER_FINGERPRINT_PLATFORM CLOAKBROWSER_GEOIP CLOAKBROWSER_HUMAN_CONFIG
        CLOAKBROWSER_HUMAN_PRESET CLOAKBROWSER_LOCALE CLOAKBROWSER_PERSISTENT_CONTEXT
        CLOAKBROWSER_STEALTH_ARGS CLOAKBROWSER_TIMEZONE CLOAKBROWSER_USER_DATA_DIR
        CLOUDFLARE_BYPASS_COOKIE_CACHE_ENABLED CLOUDFLARE_BYPASS_DOWNLOADER
        CLOUDFLARE_BYPASS_DOWNLOADER_CHAIN CLOUDFLARE_BYPASS_MAX_RETRIES DRISSIONPAGE_BROWSER_PATH
        DRISSIONPAGE_LOAD_IMAGES DRISSIONPAGE_USER_DATA_PATH DYNAMIC_RENDER_CACHE_ENABLED
        DYNAMIC_RENDER_DEFAULT_DYNAMIC DYNAMIC_RENDER_DOMAINS DYNAMIC_RENDER_ENABLED
        DYNAMIC_RENDER_STATIC_DOMAINS DYNAMIC_RENDER_STATIC_PATTERNS DYNAMIC_RENDER_URL_PATTERNS
        HYBRID_DEFAULT_DYNAMIC_DOWNLOADER HYBRID_DEFAULT_PROTOCOL_DOWNLOADER HYBRID_DYNAMIC_DOMAINS
        HYBRID_DYNAMIC_URL_PATTERNS HYBRID_PROTOCOL_DOMAINS HYBRID_PROTOCOL_URL_PATTERNS
        HYBRID_VERBOSE_LOGGING PLAYWRIGHT_ALLOW_WEBGL PLAYWRIGHT_BLOCK_ADS PLAYWRIGHT_BLOCK_WEBRTC
        PLAYWRIGHT_BROWSER_TYPE@scrapy_playwright PLAYWRIGHT_GOOGLE_REFERER PLAYWRIGHT_HEADLESS
        PLAYWRIGHT_HIDE_CANVAS PLAYWRIGHT_IGNORE_HTTPS_ERRORS PLAYWRIGHT_LOAD_TIMEOUT
        PLAYWRIGHT_MAX_PAGES_PER_BROWSER PLAYWRIGHT_PROXY PLAYWRIGHT_REAL_CHROME
        PLAYWRIGHT_SCROLL_COUNT PLAYWRIGHT_SINGLE_BROWSER_MODE PLAYWRIGHT_TIMEOUT
        PLAYWRIGHT_VIEWPORT_HEIGHT PLAYWRIGHT_VIEWPORT_WIDTH PLAYWRIGHT_WAIT_FOR_ELEMENT
        SELENIUM_BROWSER_TYPE SELENIUM_ENABLE_JS SELENIUM_HEADLESS SELENIUM_LOAD_TIMEOUT
        SELENIUM_MAX_TABS_PER_BROWSER SELENIUM_PROXY SELENIUM_SINGLE_BROWSER_MODE SELENIUM_TIMEOUT
        SELENIUM_WAIT_FOR_ELEMENT SELENIUM_WINDOW_HEIGHT SELENIUM_WINDOW_WIDTH""",
    "Use DOWNLOAD_HANDLERS to choose what downloads; for browsers, scrapy-playwright": """
        CUSTOM_DOWNLOADER DOWNLOADER@scrapy DOWNLOADER_TYPE DOWNLOADER_HEALTH_CHECK""",
    "Install scrapy-impersonate, a download handler over curl_cffi": "CURL_BROWSER_TYPE CURL_BROWSER_VERSION_MAP",
    "Use Scrapy's H2DownloadHandler in DOWNLOAD_HANDLERS": "HTTPX_HTTP2",
    "Send the header Connection: close where a site needs it; Scrapy keeps connections open": """
        AIOHTTP_FORCE_CLOSE CONNECTION_KEEPALIVE""",
    "Use DNSCACHE_ENABLED and DNSCACHE_SIZE": "CONNECTION_TTL_DNS_CACHE",
    "Write selectors that do not depend on layout; parsel has no adaptive ones": """
        ADAPTIVE_MAX_FINGERPRINT_ELEMENTS ADAPTIVE_SIMILARITY_THRESHOLD ADAPTIVE_SQLITE_PATH
        ADAPTIVE_STORAGE_BACKEND""",
    "Use Scrapy's FilesPipeline with FILES_STORE": """
        ATTACHMENT_ALLOWED_EXTENSIONS ATTACHMENT_CREATE_DIRS ATTACHMENT_DOWNLOAD_DIR
        ATTACHMENT_MAX_FILE_SIZE ATTACHMENT_RENAME_DUPLICATES ATTACHMENT_VERIFY_CONTENT_TYPE""",
    "Use CRAWLO_PREFETCH and CRAWLO_OUTBOX_LIMIT: they bound what a worker holds": """
        ADAPTIVE_BACKPRESSURE_ENABLED BACKPRESSURE_CHECK_INTERVAL BACKPRESSURE_CRITICAL_THRESHOLD
        BACKPRESSURE_DELAY_BASE BACKPRESSURE_DELAY_MAX BACKPRESSURE_ENABLED BACKPRESSURE_RATIO
        BACKPRESSURE_STRATEGY BACKPRESSURE_WARNING_THRESHOLD MEMORY_BACKPRESSURE_CRITICAL_THRESHOLD
        MEMORY_BACKPRESSURE_DELAY_BASE MEMORY_BACKPRESSURE_DELAY_MAX MEMORY_BACKPRESSURE_RATIO
        MEMORY_BACKPRESSURE_WARNING_THRESHOLD REDIS_BACKPRESSURE_CRITICAL_THRESHOLD
        REDIS_BACKPRESSURE_DELAY_BASE REDIS_BACKPRESSURE_DELAY_MAX REDIS_BACKPRESSURE_RATIO
        REDIS_BACKPRESSURE_WARNING_THRESHOLD ENQUEUE_BLOCK_STALL_ALERT_SECONDS ENQUEUE_BLOCK_TIMEOUT
        ENQUEUE_DROP_TIMEOUT ENQUEUE_FULL_POLICY""",
    "Nothing is needed: the queue has no limit and drops nothing": """
        MEMORY_SCHEDULER_MAX_QUEUE_SIZE REDIS_SCHEDULER_MAX_QUEUE_SIZE SCHEDULER_MAX_QUEUE_SIZE
        STREAM_MAX_LENGTH""",
    "Nothing is needed: start requests are pulled as the crawl has room for them": """
        ENABLE_CONTROLLED_REQUEST_GENERATION REQUEST_GENERATION_BATCH_SIZE
        REQUEST_GENERATION_INTERVAL SPIDER_BATCH_SIZE""",
    "Nothing is needed: the whole crawl is in Redis (SCHEDULER_PERSIST); without Redis, JOBDIR": """
        CHECKPOINT_DIR CHECKPOINT_ENABLED CHECKPOINT_SAVE_ON_SIGNAL CHECKPOINT_STORAGE""",
    "Write an item pipeline over that database's client, or export with FEEDS": """
        CLICKHOUSE_BATCH_SIZE CLICKHOUSE_DB CLICKHOUSE_EXECUTE_MAX_RETRIES
        CLICKHOUSE_EXECUTE_RETRY_DELAY CLICKHOUSE_FALLBACK_THRESHOLD CLICKHOUSE_HOST
        CLICKHOUSE_PASSWORD CLICKHOUSE_PORT CLICKHOUSE_TABLE CLICKHOUSE_UPSERT_MODE CLICKHOUSE_USER
        CLICKHOUSE_USE_BATCH ELASTICSEARCH_BATCH_SIZE ELASTICSEARCH_EXECUTE_MAX_RETRIES
        ELASTICSEARCH_EXECUTE_RETRY_DELAY ELASTICSEARCH_FALLBACK_THRESHOLD ELASTICSEARCH_HOSTS
        ELASTICSEARCH_INDEX ELASTICSEARCH_MAX_RETRIES ELASTICSEARCH_TIMEOUT ELASTICSEARCH_USE_BATCH
        HBASE_BATCH_SIZE HBASE_COLUMN_FAMILY HBASE_HOST HBASE_PORT HBASE_TABLE HBASE_TIMEOUT
        HBASE_USE_BATCH PG_AUTO_UPDATE PG_BATCH_SIZE PG_CONFLICT_COLUMNS PG_DB
        PG_EXECUTE_MAX_RETRIES PG_EXECUTE_RETRY_DELAY PG_HOST PG_INSERT_IGNORE PG_PASSWORD
        PG_POOL_MAX PG_POOL_MIN PG_PORT PG_TABLE PG_UPDATE_COLUMNS PG_USER PG_USE_BATCH
        PG_USE_TRANSACTION SQLITE_AUTO_UPDATE SQLITE_BATCH_SIZE SQLITE_DB
        SQLITE_EXECUTE_MAX_RETRIES SQLITE_EXECUTE_RETRY_DELAY SQLITE_INSERT_IGNORE SQLITE_PATH
        SQLITE_TABLE SQLITE_UPDATE_COLUMNS SQLITE_USE_BATCH SQLITE_USE_TRANSACTION""",
    "Nothing is needed: a write is tried until the storage has the item, for giving up would lose it": """
        MONGO_EXECUTE_MAX_RETRIES MYSQL_EXECUTE_MAX_RETRIES""",
    "Use crawlo_scrapy.pipelines.RedisDedupPipeline; requests are filtered by the shared seen set": """
        DB_DEDUP_TABLE DB_HOST DB_NAME DB_PASSWORD DB_PORT DB_USER DEDUP_DEBUG
        DEFAULT_DEDUP_PIPELINE REDIS_DEDUP_CLEANUP REDIS_DEDUP_KEY REDIS_DEDUP_TTL""",
    "Use MYSQL_BATCH_SIZE and MONGO_BATCH_SIZE": """
        PIPELINE_BATCH_SIZE PIPELINE_USE_BATCH PROCESSOR_BATCH_SIZE PROCESSOR_TIMEOUT
        MONGO_FALLBACK_THRESHOLD""",
    "Nothing is needed: one pool a worker, which mends broken connections itself": """
        MYSQL_HEALTH_CHECK_INTERVAL MYSQL_MONITOR_ENABLED MYSQL_MONITOR_INTERVAL
        MYSQL_POOL_REPAIR_ATTEMPTS MYSQL_POOL_SHARED_MODE REDIS_POOL_SHARED_MODE""",
    "Set the log level of the logger asyncmy in LOG_LEVEL or in logging's own configuration": "MYSQL_ECHO",
    "Nothing is needed: workers need no leader, and a dead worker's requests are taken up after CRAWLO_WORKER_TIMEOUT": """
        CLUSTER_AUTO_CLEAR_SHUTDOWN_ON_START CLUSTER_AUTO_DEREGISTER CLUSTER_CLEANUP_ON_SHUTDOWN
        CLUSTER_FAILOVER_CHECK_INTERVAL CLUSTER_FAILOVER_LOCK_TIMEOUT
        CLUSTER_GRACEFUL_SHUTDOWN_TIMEOUT DISTRIBUTED_COORDINATED_SHUTDOWN_ENABLED
        DISTRIBUTED_IDLE_XCLAIM_BATCH DISTRIBUTED_IDLE_XCLAIM_MIN_IDLE
        DISTRIBUTED_IDLE_XCLAIM_SCAN_INTERVAL DISTRIBUTED_LOCK_RETRY_COUNT
        DISTRIBUTED_LOCK_RETRY_DELAY DISTRIBUTED_LOCK_TIMEOUT
        STREAM_BLOCK_TIMEOUT STREAM_COMPACT STREAM_CONSUMER_IDLE_TIMEOUT STREAM_PRIORITY_ENABLED
        QUEUE_TIMEOUT""",
    "Use DOWNLOAD_DELAY, CONCURRENT_REQUESTS_PER_DOMAIN and DOWNLOAD_SLOTS": """
        DISTRIBUTED_RATE_LIMIT_CAPACITY DISTRIBUTED_RATE_LIMIT_DEFAULT_RATE
        DISTRIBUTED_RATE_LIMIT_ENABLED""",
    "Nothing is needed: the keys follow from PROJECT_NAME and the spider's name": "SCHEDULER_QUEUE_NAME STATS_PREFIX STATS_REDIS_KEY",
    "Nothing is needed: requests are msgpack, which keeps every part of them": """
        QUEUE_SERIALIZATION_FORMAT SERIALIZATION_FORMAT STREAM_SERIALIZATION_FORMAT DECODE_RESPONSES""",
    "Use CRAWLO_ALERTS with CRAWLO_ALERT_WEBHOOK_URLS, and a small service that speaks to the messenger": """
        DINGTALK_AT_MOBILES DINGTALK_AT_USERIDS DINGTALK_IS_AT_ALL DINGTALK_KEYWORDS DINGTALK_SECRET
        DINGTALK_WEBHOOK FEISHU_AT_MOBILE FEISHU_AT_USERS FEISHU_IS_AT_ALL FEISHU_SECRET
        FEISHU_WEBHOOK NOTIFICATION_CHANNELS NOTIFICATION_ENABLED SMS_ACCESS_KEY_ID
        SMS_ACCESS_KEY_SECRET SMS_PHONE_NUMBERS SMS_PROVIDER SMS_SIGN_NAME SMS_TEMPLATE_CODE
        WECOM_AGENT_ID WECOM_AT_MOBILE WECOM_AT_USERS WECOM_IS_AT_ALL WECOM_SECRET WECOM_WEBHOOK""",
    "Use CRAWLO_ALERTS with CRAWLO_ALERT_MAIL_TO and Scrapy's MAIL_* settings": """
        EMAIL_FROM EMAIL_HOST EMAIL_PASSWORD EMAIL_PORT EMAIL_TO EMAIL_USERNAME EMAIL_USE_TLS""",
    "Nothing is needed: the engine is Scrapy's": """
        ENGINE_DISPATCHER_CLASS ENGINE_DISTRIBUTED_CLASS FRAMEWORK_INIT_ORDER FRAMEWORK_INIT_STATE
        DYNAMIC_CONFIG_ENABLED SPIDER_MODULE_INITIALIZER""",
    "Nothing is needed: an extension that fails stops the start, as in Scrapy": "EXTENSIONS_STRICT",
    "Use Scrapy's asyncio debug mode (PYTHONASYNCIODEBUG=1)": """
        EVENTLOOP_LAG_PROBE_ENABLED EVENTLOOP_LAG_PUBLISH_INTERVAL EVENTLOOP_LAG_SAMPLE_INTERVAL
        EVENTLOOP_LAG_WARN_CONSECUTIVE EVENTLOOP_LAG_WARN_THRESHOLD_MS""",
    "Use Scrapy's LOG_FILE, LOG_LEVEL and LOG_FORMAT (with %(process)d, %(thread)d, %(pathname)s)": """
        LOG_CONSOLE_ENABLED LOG_CONSOLE_LEVEL LOG_DIR LOG_ENABLE_CUSTOM LOG_FILE_ENABLED
        LOG_FILE_LEVEL LOG_INCLUDE_MODULE_PATH LOG_INCLUDE_PROCESS_ID LOG_INCLUDE_THREAD_ID
        LOG_LEVELS LOG_LEVEL_NUM LOG_RETENTION_DAYS""",
    "Use MEMDEBUG_ENABLED or the telnet console's prefs() to look for leaks": """
        MEMORY_LEAK_THRESHOLD_MB MEMORY_MIN_TREND_POINTS MEMORY_STABLE_THRESHOLD_PCT""",
    "Nothing is needed: Scrapy's memory filter has no limit": """
        MEMORY_FILTER_CLEANUP_THRESHOLD MEMORY_FILTER_MAX_CAPACITY""",
    "Run it with scrapy crawl --profile FILE": """
        PERFORMANCE_PROFILER_ENABLED PERFORMANCE_PROFILER_INTERVAL PERFORMANCE_PROFILER_OUTPUT_DIR""",
    "Set request.meta['proxy'] in a downloader middleware, or install scrapy-rotating-proxies": """
        PROXY_API_URL PROXY_EXTRACTOR PROXY_LIST PROXY_MAX_FAILED_ATTEMPTS""",
    "Set the headers in a downloader middleware": """
        RANDOM_HEADERS RANDOM_USER_AGENT_ENABLED USER_AGENTS USER_AGENT_DEVICE_TYPE
        USER_AGENT_ROTATION USER_AGENT_TYPE""",
    "Use crawlo-scrapy doctor": "REDIS_MONITOR_ENABLED REDIS_MONITOR_INTERVAL",
    "Use HTTPCACHE_ENABLED, or a downloader middleware that writes": """
        REQUEST_DIR REQUEST_RECORDER_ENABLED REQUEST_RECORDER_MAX_FILE_SIZE
        REQUEST_RECORDER_OUTPUT_DIR""",
    "Nothing is needed: Scrapy counts requests always": "REQUEST_STATS_ENABLED",
    "Start crawls from cron, a systemd timer or a Kubernetes CronJob": """
        SCHEDULER_CHECK_INTERVAL SCHEDULER_ENABLED SCHEDULER_ERROR_LOG_RETENTION_DAYS
        SCHEDULER_ERROR_RETRY_DELAY SCHEDULER_GRACEFUL_SHUTDOWN_TIMEOUT SCHEDULER_HEARTBEAT_INTERVAL
        SCHEDULER_JOBS SCHEDULER_JOB_TIMEOUT SCHEDULER_MAX_CONCURRENT SCHEDULER_MAX_RESOURCE_AGE
        SCHEDULER_RESOURCE_CHECK_INTERVAL SCHEDULER_RESOURCE_CLEANUP_ON_STOP
        SCHEDULER_RESOURCE_LEAK_THRESHOLD SCHEDULER_RESOURCE_MONITOR_ENABLED
        SCHEDULER_STATS_LOGGING_INTERVAL SCHEDULER_STATS_RETENTION_HOURS
        SCHEDULER_TASK_CLEANUP_INTERVAL""",
    "Name the spider on the command line": "SPIDER_NAME",
    "Use crawlo-scrapy stats --json": "STATS_FILE STATS_REDIS_EXPIRE",
    "Add the field in the spider or in an item pipeline": "JSON_ADD_METADATA",
}

#: Every option by name, in the table's order.
OPTIONS: dict[str, Option] = {
    option.name: option
    for option in [*mapped_rows(_MAPPED), *ours_rows(_OURS), *without_rows(_WITHOUT)]
}
