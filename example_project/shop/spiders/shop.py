import scrapy

from shop.items import Product


class ShopSpider(scrapy.Spider):
    """Crawl the shop: home page, categories with their further pages, products.

    The shop's address is the setting SHOP_URL, or the argument ``-a url=...``.
    """

    name = "shop"

    def __init__(self, url=None, **kwargs):
        super().__init__(**kwargs)
        self.url = url

    async def start(self):
        yield scrapy.Request(self.url or self.settings["SHOP_URL"])

    def parse(self, response):
        yield from response.follow_all(css="nav a.category", callback=self.parse_category)

    def parse_category(self, response):
        yield from response.follow_all(css="ul.products a", callback=self.parse_product)
        yield from response.follow_all(css="ul.pages a", callback=self.parse_category)

    def parse_product(self, response):
        yield Product(
            sku=response.css(".sku::text").get(),
            name=response.css("h1::text").get(),
            category=response.css(".breadcrumb a.category::text").get(),
            price=float(response.css(".price::attr(data-amount)").get()),
            in_stock=response.css(".stock::attr(data-stock)").get() == "yes",
            url=response.url,
        )
        yield from response.follow_all(css="ul.related a", callback=self.parse_product)
