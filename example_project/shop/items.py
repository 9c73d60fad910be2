import scrapy


class Product(scrapy.Item):
    sku = scrapy.Field()
    name = scrapy.Field()
    category = scrapy.Field()
    price = scrapy.Field()
    in_stock = scrapy.Field()
    url = scrapy.Field()
