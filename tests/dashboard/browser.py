"""A real browser: Debian's chromium, steered by Playwright. It downloads none of its own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from tests.waiting import missing

if TYPE_CHECKING:
    from playwright.async_api import Page

#: No sandbox: it does not work for root, as whom a container's tests run.
_FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
#: How long the browser waits for anything, in ms.
PATIENCE = 60_000


@asynccontextmanager
async def browsing(*, width: int = 1280, scheme: str = "light") -> AsyncIterator[Page]:
    """Yield a page of a new browser; fails at the end when a page had an error.

    What the console says of a resource that could not be loaded is no error.
    """
    program = shutil.which("chromium")
    if program is None:
        missing("chromium", "apt install chromium")
    try:
        from playwright.async_api import async_playwright
    except ModuleNotFoundError:
        missing("playwright", "pip install 'crawlo_scrapy[test]'")
    said: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        async with async_playwright() as playwright:
            options: dict[str, Any] = {"width": width, "height": 900}
            browser = await playwright.chromium.launch_persistent_context(
                folder, executable_path=program, args=_FLAGS, viewport=options, color_scheme=scheme
            )
            try:
                page = await browser.new_page()
                page.set_default_timeout(PATIENCE)
                page.on("pageerror", lambda error: said.append(str(error)))
                page.on(
                    "console",
                    lambda m: said.append(m.text) if m.type in ("error", "warning") else None,
                )
                yield page
            finally:
                await browser.close()
    assert [text for text in said if "Failed to load resource" not in text] == []
