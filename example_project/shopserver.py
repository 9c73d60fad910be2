"""A shop to crawl: 2,000 pages, the same at every start. Standard library only.

    python shopserver.py --port 0 --access-log access.log

prints its URL as the first line and serves until it is stopped. The access log gets one
line a page at the moment its request arrives: seconds since 1970, a space, the path.
robots.txt and paths that do not exist are not pages and are not logged.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import random
import re
import time
from typing import TextIO

#: Category -> number of its products: 1,900 in all.
CATEGORIES = {
    "boots": 236,
    "sandals": 132,
    "jackets": 214,
    "shirts": 255,
    "trousers": 173,
    "socks": 95,
    "hats": 118,
    "gloves": 71,
    "scarves": 54,
    "bags": 197,
    "belts": 41,
    "tents": 314,
}
PRODUCTS_PER_PAGE = 20
RELATED = 6

ADJECTIVES = ["Alpine", "Breezy", "Classic", "Durable", "Heritage", "Nordic", "Rugged", "Warm"]
COLOURS = ["amber", "blue", "charcoal", "crimson", "green", "ivory", "olive", "teal", "white"]
MATERIALS = ["canvas", "cotton", "denim", "fleece", "leather", "linen", "nylon", "silk", "wool"]


def page_paths() -> list[str]:
    """Return the path of every page: the home page, category pages, products."""
    paths = ["/"]
    for category in CATEGORIES:
        paths += [_category_path(category, n) for n in range(1, _page_count(category) + 1)]
    paths += [f"/product/{number}" for number in range(1, len(_categories_of_products()) + 1)]
    return paths


def product_paths() -> list[str]:
    """Return the path of every page that yields an item."""
    return [path for path in page_paths() if path.startswith("/product/")]


@functools.cache
def _categories_of_products() -> list[str]:
    return [name for name, count in CATEGORIES.items() for _ in range(count)]


def _numbers_in(category: str) -> range:
    first = _categories_of_products().index(category) + 1
    return range(first, first + CATEGORIES[category])


def _page_count(category: str) -> int:
    return -(-CATEGORIES[category] // PRODUCTS_PER_PAGE)


def _category_path(category: str, page: int) -> str:
    return f"/category/{category}" if page == 1 else f"/category/{category}?page={page}"


@functools.cache
def _product(number: int) -> dict[str, str]:
    draw = random.Random(number)
    category = _categories_of_products()[number - 1]
    adjective, colour, material = map(draw.choice, (ADJECTIVES, COLOURS, MATERIALS))
    return {
        "name": f"{adjective} {material} {category} No. {number}",
        "category": category,
        "sku": f"{category[:3].upper()}-{number:05d}",
        "price": f"{draw.randrange(500, 30_000) / 100:.2f}",
        "colour": colour,
        "material": material,
        "stock": "no" if draw.random() < 0.1 else "yes",
    }


def render(path: str) -> str | None:
    """Return the HTML of the page at *path*, or None if there is no such page."""
    if path == "/":
        return _layout("Welcome", "<h1>Welcome</h1><p>Everything for a walk in the rain.</p>")
    if match := re.fullmatch(r"/category/(\w+)(?:\?page=(\d+))?", path):
        category, page = match[1], int(match[2] or 1)
        if category in CATEGORIES and 1 <= page <= _page_count(category):
            return _category_page(category, page)
    if match := re.fullmatch(r"/product/(\d+)", path):
        number = int(match[1])
        if 1 <= number <= len(_categories_of_products()):
            return _product_page(number)
    return None


def _layout(title: str, main: str) -> str:
    menu = "".join(
        f'<li><a class="category" href="/category/{name}">{name.title()}</a></li>'
        for name in CATEGORIES
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{title} - The Shop</title></head>\n<body>\n"
        f'<header><a href="/">The Shop</a></header>\n<nav><ul>{menu}</ul></nav>\n'
        f"<main>\n{main}\n</main>\n"
        '<footer><a href="/">Home</a></footer>\n</body></html>\n'
    )


def _product_list(css_class: str, numbers: range | list[int]) -> str:
    entries = "".join(
        f'<li><a href="/product/{number}">{_product(number)["name"]}</a> '
        f"<span>{_product(number)['price']} EUR</span></li>\n"
        for number in numbers
    )
    return f'<ul class="{css_class}">\n{entries}</ul>'


def _category_page(category: str, page: int) -> str:
    numbers = _numbers_in(category)[(page - 1) * PRODUCTS_PER_PAGE : page * PRODUCTS_PER_PAGE]
    pages = "".join(
        f'<li><a href="{_category_path(category, n)}">{n}</a></li>'
        for n in range(1, _page_count(category) + 1)
    )
    title = category.title()
    products = _product_list("products", numbers)
    return _layout(title, f'<h1>{title}</h1>\n{products}\n<ul class="pages">{pages}</ul>')


def _product_page(number: int) -> str:
    product = _product(number)
    category = product["category"]
    draw = random.Random(-number)
    related = draw.sample(range(1, len(_categories_of_products()) + 1), RELATED)
    main = (
        '<p class="breadcrumb"><a href="/">Home</a> / '
        f'<a class="category" href="/category/{category}">{category}</a></p>\n'
        f'<h1>{product["name"]}</h1>\n<p>Item <span class="sku">{product["sku"]}</span></p>\n'
        f'<p class="price" data-amount="{product["price"]}">{product["price"]} EUR</p>\n'
        f'<p class="stock" data-stock="{product["stock"]}">In stock: {product["stock"]}</p>\n'
        f"<p>Made of {product['material']}, colour {product['colour']}.</p>\n"
        f"<h2>Others also bought</h2>\n{_product_list('related', related)}"
    )
    return _layout(product["name"], main)


@functools.cache
def _reply(path: str) -> tuple[bool, bytes]:
    """Return whether *path* is a page, and the whole HTTP reply."""
    html, status, kind = render(path), "200 OK", "text/html; charset=utf-8"
    is_page = html is not None
    if path == "/robots.txt":
        html, kind = "User-agent: *\nDisallow:\n", "text/plain"
    elif html is None:
        html, status = _layout("Not found", "<h1>Not found</h1>"), "404 Not Found"
    body = html.encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return is_page, head.encode() + body


class ShopProtocol(asyncio.Protocol):
    """One connection of a client; keeps it open unless the client asks otherwise."""

    def __init__(self, access_log: TextIO | None, delay: float) -> None:
        self.access_log, self.delay = access_log, delay
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while b"\r\n\r\n" in self.buffer:
            head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
            self._answer(head)

    def _answer(self, head: bytes) -> None:
        words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        is_page, reply = _reply(words[1] if len(words) == 3 else "")
        if is_page and self.access_log:
            self.access_log.write(f"{time.time():.6f} {words[1]}\n")
        close = b"connection: close" in head.lower() or words[-1] == "HTTP/1.0"
        if self.delay:
            asyncio.get_running_loop().call_later(self.delay, self._send, reply, close)
        else:
            self._send(reply, close)

    def _send(self, reply: bytes, close: bool) -> None:
        if not self.transport.is_closing():
            self.transport.write(reply)
            if close:
                self.transport.close()


async def serve(host: str, port: int, access_log: TextIO | None, delay: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: ShopProtocol(access_log, delay), host, port)
    print(f"http://{host}:{server.sockets[0].getsockname()[1]}/", flush=True)
    async with server:
        await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve a shop of 2,000 pages to crawl.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000, help="0 picks a free one")
    parser.add_argument("--access-log", metavar="FILE", help="append one line a page request")
    parser.add_argument("--delay-ms", type=float, default=0, help="wait before each reply")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.suppress(KeyboardInterrupt))
        log = None
        if options.access_log:
            log = stack.enter_context(open(options.access_log, "a", buffering=1))
        asyncio.run(serve(options.host, options.port, log, options.delay_ms / 1000))


if __name__ == "__main__":
    main()
