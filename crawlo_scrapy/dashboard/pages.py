"""What stands on each page."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from crawlo_scrapy import __version__
from crawlo_scrapy.dashboard import text
from crawlo_scrapy.dashboard.access import Access, own_path, read_form, root
from crawlo_scrapy.dashboard.curves import columns, points
from crawlo_scrapy.dashboard.reader import NOW, Reader
from crawlo_scrapy.dashboard.tables import (
    ORDERS,
    failed_downloads,
    lines_of,
    node_name,
    nodes_in_order,
    response_codes,
    stat_rows,
)
from crawlo_scrapy.dashboard.urls import Urls
from crawlo_scrapy.serializer import url_of
from crawlo_scrapy.steering import CHANGEABLE
from crawlo_scrapy.store.control import wanted_rows

#: Rows of the table that says what the curves say.
CURVE_ROWS = 24
#: What a page shows at most: error lines, dead letters, slots and priorities.
MOST = {"errors": 20, "letters": 100, "queues": 10}
#: Longer words to filter by are cut.
LONGEST_FILTER = 200


class Pages:
    """One method a page. What they look up is shared by all viewers."""

    def __init__(self, reader: Reader, access: Access, address: str, *, acting: bool) -> None:
        self._reader = reader
        self._access = access
        self._templates = Environment(
            loader=PackageLoader("crawlo_scrapy.dashboard"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals |= {
            "address": address, "guarded": access.guarded, "version": __version__, "most": MOST,
            "acting": acting, "changeable": list(CHANGEABLE),
        }  # fmt: skip
        self._templates.filters |= {
            "plain": text.plain, "value": text.value, "number": text.number, "size": text.size,
            "moment": text.moment, "span": text.span, "anchor": text.anchor,
            "phrase": text.status_phrase, "url_of": url_of, "node_name": node_name,
        }  # fmt: skip

    async def overview(self, request: Request) -> Response:
        async def look() -> dict[str, Any]:
            rows, count = await self._reader.crawls()
            return {"rows": rows, "count": count, "project": self._reader.project}

        return await self._page(request, "overview.html", (), look)

    async def crawl(self, request: Request) -> Response:
        name, run, words = request.path_params["name"], _run(request), _words(request)
        order = request.query_params.get("sort", "")
        order = order if order in ORDERS else "state"

        async def look() -> dict[str, Any]:
            view = await self._reader.crawl(name, run)
            here, left = nodes_in_order(view.nodes, order)
            return {
                "view": view, "nodes": here, "left": left, "order": order, "orders": ORDERS,
                "number": run, "errors": view.errors[: MOST["errors"]],
                "points": points(view.samples, CURVE_ROWS), "wanted": wanted_rows(view.wanted),
                **_from_stats(view.totals, words),
            }  # fmt: skip

        return await self._page(request, "crawl.html", (name, run, order, words), look)

    async def node(self, request: Request) -> Response:
        name, run, words = request.path_params["name"], _run(request), _words(request)
        node_id = request.query_params.get("id", "")

        async def look() -> dict[str, Any]:
            view = await self._reader.crawl(name, run)
            node = view.node(node_id)
            own = dict(sorted(view.counted[node.id].values.items())) if node.id else {}
            samples = await self._reader.node_samples(view, node)
            return {
                "view": view, "node": node, "node_id": node_id, "number": run,
                "errors": lines_of(node, view.errors),
                "points": points(samples, CURVE_ROWS),
                **_from_stats(own, words),
            }  # fmt: skip

        return await self._page(request, "node.html", (name, run, node_id, words), look)

    async def crawl_curves(self, request: Request) -> Response:
        name, run = request.path_params["name"], _run(request)

        async def look() -> bytes:
            samples = await self._reader.samples(name, run)
            return json.dumps(columns(points(samples))).encode()

        return await self._curves((name, run), look)

    async def node_curves(self, request: Request) -> Response:
        name, run = request.path_params["name"], _run(request)
        node_id = request.query_params.get("id", "")

        async def look() -> bytes:
            view = await self._reader.crawl(name, run)
            samples = await self._reader.node_samples(view, view.node(node_id))
            return json.dumps(columns(points(samples))).encode()

        return await self._curves((name, run, node_id), look)

    async def login(self, request: Request) -> Response:
        target = own_path(request.query_params.get("next", "")) or Urls(root(request)).overview()
        if self._access.admits(request):
            return RedirectResponse(target, 303)
        if request.method != "POST":
            return self.render(request, "login.html", {"failed": False})
        form = await read_form(request)
        if not self._access.is_token(form.get("token", "")):
            return self.render(request, "login.html", {"failed": True}, 403)
        response = RedirectResponse(target, 303)
        self._access.log_in(request, response)
        return response

    async def logout(self, request: Request) -> Response:
        response = RedirectResponse(Urls(root(request)).login(), 303)
        self._access.log_out(request, response)
        return response

    async def problem(self, request: Request, exc: Exception, *, status: int) -> Response:
        """Say on a page what is wrong."""
        return self.render(request, "problem.html", {"message": str(exc), "status": status}, status)

    async def http_problem(self, request: Request, exc: Exception) -> Response:
        assert isinstance(exc, HTTPException)
        message = "There is no such page." if exc.status_code == 404 else exc.detail
        response = await self.problem(request, Exception(message), status=exc.status_code)
        response.headers.update(exc.headers or {})
        return response

    async def _page(
        self,
        request: Request,
        template: str,
        key: tuple[Any, ...],
        look: Callable[[], Awaitable[dict[str, Any]]],
    ) -> Response:
        async def render() -> bytes:
            return bytes(self.render(request, template, await look()).body)

        shared = self._reader.shared
        page = await shared.get((template, root(request), *key), render, NOW, patience=0)
        return HTMLResponse(page)

    def render(
        self, request: Request, template: str, values: Mapping[str, Any], status: int = 200
    ) -> HTMLResponse:
        page = self._templates.get_template(template).render(urls=Urls(root(request)), **values)
        # What stands in Redis may hold half a character.
        return HTMLResponse(page.encode("utf-8", "replace"), status)

    async def _curves(self, key: tuple[Any, ...], look: Callable[[], Awaitable[bytes]]) -> Response:
        found = await self._reader.shared.get(("curves", *key), look, NOW, patience=0)
        return Response(found, media_type="application/json")


def _from_stats(stats: Mapping[str, Any], words: str) -> dict[str, Any]:
    shown, count = stat_rows(stats, words)
    return {
        "codes": response_codes(stats), "failures": failed_downloads(stats), "words": words,
        "stats": shown, "stats_count": count,
    }  # fmt: skip


def _run(request: Request) -> int | None:
    run = request.query_params.get("run", "")
    return int(run) if run.isascii() and run.isdigit() and len(run) < 10 else None


def _words(request: Request) -> str:
    return request.query_params.get("filter", "")[:LONGEST_FILTER]
