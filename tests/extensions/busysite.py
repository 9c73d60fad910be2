"""A site that is busy at first: each path answers by its plan, then with a page."""

from __future__ import annotations

from tests.site import Site

PHRASES = {429: "Too Many Requests", 500: "Internal Server Error", 503: "Service Unavailable"}


class BusySite(Site):
    """`plan` maps a path to what is answered in turn: a status, and headers as lines.

    A path without a plan gets `always`, as long as it is set.
    """

    def __init__(self) -> None:
        super().__init__()
        self.plan: dict[str, list[tuple[int, str]]] = {}
        self.always: tuple[int, str] | None = None

    async def _answer(self, path, writer):
        turn = self.hits[path]
        plan = self.plan.get(path, [self.always] if self.always else [])
        if turn < len(plan) or (self.always and path not in self.plan):
            self.hits[path] += 1
            status, headers = plan[min(turn, len(plan) - 1)]
            lines = [f"HTTP/1.1 {status} {PHRASES[status]}", headers, "Content-Length: 0"]
            writer.write("\r\n".join([*filter(None, lines), "", ""]).encode())
            await writer.drain()
        else:
            await super()._answer(path, writer)
