"""Where each page is."""

from __future__ import annotations

from urllib.parse import quote, urlencode


class Urls:
    """The paths of all pages, under *root*, where a proxy may have put them."""

    def __init__(self, root: str) -> None:
        self._root = root

    def overview(self) -> str:
        return f"{self._root}/"

    def login(self, then: str = "") -> str:
        return self._path("/login", next=then)

    def logout(self) -> str:
        return f"{self._root}/logout"

    def asset(self, name: str) -> str:
        return f"{self._root}/assets/{name}"

    def crawl(self, name: str, part: str = "", **query: object) -> str:
        """Return the path of a crawl's page, or of a *part* of it; what is None is left out."""
        # A name is quoted already, so what it holds of % is quoted once more.
        return self._path(f"/crawl/{quote(name, safe=':')}{part and f'/{part}'}", **query)

    def node(self, name: str, node: str, part: str = "", **query: object) -> str:
        # Not in the path: an id may be "..", or hold a slash.
        return self.crawl(name, f"node{part and f'/{part}'}", id=node, **query)

    def _path(self, path: str, **query: object) -> str:
        given = {name: str(value) for name, value in query.items() if value not in (None, "")}
        return self._root + path + (f"?{urlencode(given, errors='replace')}" if given else "")
