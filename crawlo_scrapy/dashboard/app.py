"""The application: which page is where."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from crawlo_scrapy.dashboard.access import Access, Border, LoginRequired
from crawlo_scrapy.dashboard.actions import Actions
from crawlo_scrapy.dashboard.pages import Pages
from crawlo_scrapy.dashboard.reader import NotThere, Reader
from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.errors import StoreError


def create_app(
    reader: Reader, access: Access, address: str, acting: Client | None = None
) -> ASGIApp:
    """Return the application. *address* is that of Redis, as people may see it.

    Crawls can be steered when it is given what to do that with, *acting*.
    """
    pages = Pages(reader, access, address, acting=acting is not None)
    guarded = [
        Route("/", pages.overview),
        Route("/crawl/{name}", pages.crawl),
        Route("/crawl/{name}/curves.json", pages.crawl_curves),
        Route("/crawl/{name}/node", pages.node),
        Route("/crawl/{name}/node/curves.json", pages.node_curves),
    ]
    if acting is not None:
        # Who gets there is logged in, and `Border` has seen that a POST comes from a page of ours.
        actions = Actions(acting, reader, pages)
        guarded.append(
            Route("/crawl/{name}/do/{verb}", actions.page, methods=["GET", "POST"]),
        )
    app = Starlette(
        routes=[
            Route("/login", pages.login, methods=["GET", "POST"]),
            Route("/logout", pages.logout, methods=["POST"]),
            Mount("/assets", StaticFiles(directory=Path(__file__).parent / "assets")),
            Mount("", routes=guarded, middleware=[Middleware(LoginRequired, access=access)]),
        ],
        middleware=[Middleware(GZipMiddleware, minimum_size=1000, compresslevel=5)],
        exception_handlers={
            StoreError: partial(pages.problem, status=503),
            NotThere: partial(pages.problem, status=404),
            HTTPException: pages.http_problem,
        },
    )
    return Border(app, access)
