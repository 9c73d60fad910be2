BOT_NAME = "shop"
SPIDER_MODULES = ["shop.spiders"]
NEWSPIDER_MODULE = "shop.spiders"

# All workers share one crawl through Redis. With nothing more it is looked for on this
# host; set REDIS_HOST or REDIS_URL if yours runs elsewhere.
ADDONS = {"crawlo_scrapy.Addon": 500}

# Where the shop is; shopserver.py serves it on your own machine.
SHOP_URL = "http://127.0.0.1:8000/"

# It is our own shop, so we need not be gentle with it.
CONCURRENT_REQUESTS = 16
CONCURRENT_REQUESTS_PER_DOMAIN = 16
ROBOTSTXT_OBEY = True

ITEM_PIPELINES = {"shop.pipelines.AppendPipeline": 300}
ITEMS_FILE = "items-{pid}.jsonl"
