"""The pages in a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from benchmarks.simulated import SimulatedCrawl
from crawlo_scrapy.localserver import LocalRedis
from crawlo_scrapy.store.stats import NEWEST, ErrorLine
from tests.dashboard.browser import browsing
from tests.dashboard.conftest import TOKEN, Dashboard, client_of
from tests.dashboard.test_pages import HOSTILE
from tests.waiting import wait_until

if TYPE_CHECKING:
    from playwright.async_api import Page

pytestmark = pytest.mark.slow

PAGES_TILE = ".figures div:first-child dd"


async def grow(crawl: SimulatedCrawl, redis_url: str, more: int) -> None:
    """Let each node have done so many pages more."""
    async with client_of(redis_url) as client:
        crawl.use(client)
        for number, member in enumerate(crawl.members):
            await crawl.write(member, crawl.stats(number, more))


async def wait_for_text(page: Page, selector: str, text: str) -> None:
    await page.wait_for_function(
        "([s, t]) => document.querySelector(s)?.textContent.includes(t)", arg=[selector, text]
    )


async def test_is_live_and_leaves_the_viewer_alone(
    dashboard: Dashboard, redis_url: str, crawl: SimulatedCrawl, path: str
) -> None:
    async with browsing() as page:
        await page.goto(dashboard.url + path)
        await page.evaluate("window.notReloaded = true")
        await page.click("#curves-table summary")
        await page.fill("#words", "response_status")
        await page.evaluate("document.querySelector('#stats-count').scrollIntoView()")
        place = await page.evaluate("scrollY")

        await grow(crawl, redis_url, 1000)
        pages = 4 * (crawl.figures[0] // 4 + 1000)
        await wait_for_text(page, PAGES_TILE, f"{pages:,}")

        assert await page.evaluate("window.notReloaded")
        assert await page.evaluate("document.activeElement.id") == "words"
        assert await page.input_value("#words") == "response_status"
        assert await page.evaluate("document.querySelector('#curves-table').open")
        assert abs(await page.evaluate("scrollY") - place) < 50
        # The filter holds for what came since, and stands in the address.
        assert await page.locator("#stats tbody tr:visible").count() == 8
        assert "filter=response_status" in page.url
        assert await page.text_content("#status") == "Live"


async def test_updates_can_be_paused(
    dashboard: Dashboard, redis_url: str, crawl: SimulatedCrawl, path: str
) -> None:
    async with browsing() as page:
        await page.goto(dashboard.url + path)
        before = await page.text_content(PAGES_TILE)
        await page.click("text=Pause updates")
        await wait_for_text(page, "#status", "Paused")
        await grow(crawl, redis_url, 1000)
        assert await page.text_content(PAGES_TILE) == before
        await page.click("text=Resume updates")
        await wait_for_text(page, PAGES_TILE, f"{4 * (crawl.figures[0] // 4 + 1000):,}")


async def test_curves_are_drawn_and_described(
    dashboard: Dashboard, crawl: SimulatedCrawl, path: str
) -> None:
    async with browsing() as page:
        await page.goto(dashboard.url + path)
        await page.wait_for_selector("#curves canvas")
        assert await page.locator("#curves canvas").count() == 4
        # Something is drawn in the colour of the curve.
        assert await page.evaluate(
            """() => {
                const canvas = document.querySelector("#curves canvas");
                const {data} = canvas.getContext("2d").getImageData(
                    0, 0, canvas.width, canvas.height);
                return data.filter((value, at) => at % 4 == 3 && value == 255).length > 100;
            }"""
        )
        said = await page.get_attribute("[data-curve=queued]", "aria-label")
        assert said is not None
        assert said.startswith("Queued, from ")
        assert f": now {crawl.figures[6]:,}," in said
        whole = said
        await page.check("text=last hour")
        assert await page.get_attribute("[data-curve=queued]", "aria-label") == whole
        await page.hover("#curves .u-over >> nth=0")
        await wait_for_text(page, "#curves small", " at ")


async def test_hostile_strings_run_nothing(
    dashboard: Dashboard, redis_url: str, crawl: SimulatedCrawl, path: str
) -> None:
    async with client_of(redis_url) as client:
        crawl.use(client)
        member = crawl.members[0]
        line = ErrorLine(1e9, member.worker_id, HOSTILE, "ERROR", HOSTILE)
        await crawl.write(member, {HOSTILE: (NEWEST, HOSTILE)}, line)
    async with browsing() as page:
        dialogs: list[str] = []

        async def note(dialog: object) -> None:
            dialogs.append(str(dialog))

        page.on("dialog", note)
        done = crawl.figures[0] // 4
        for address, more, pages in (
            (path, 1000, 4 * (done + 1000)),
            (f"{path}/node?id=host-0-4000", 2000, done + 2000),
        ):
            await page.goto(dashboard.url + address)
            await page.fill("#words", "alert(1)")
            row = page.locator("#stats tbody tr:visible")
            assert HOSTILE in (await row.inner_text())
            await grow(crawl, redis_url, more)
            await wait_for_text(page, PAGES_TILE, f"{pages:,}")
            assert await page.locator("main img, main script").count() == 0
        assert dialogs == []


async def test_by_keyboard(dashboard: Dashboard, crawl: SimulatedCrawl) -> None:
    async with browsing() as page:
        await page.goto(f"{dashboard.url}/crawl/{crawl.keys.name}")
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.textContent") == "Skip to content"
        await page.keyboard.press("Enter")
        assert await page.evaluate("document.activeElement.id") == "main"
        seen = set()
        for _ in range(60):
            await page.keyboard.press("Tab")
            seen.add(
                await page.evaluate(
                    "(e => `${e.tagName} ${e.name || e.textContent.trim()}`)"
                    "(document.activeElement)"
                )
            )
        assert {"A Crawls", "INPUT range", "INPUT filter", "A host-0-4000", "A Memory"} <= seen
        assert "SUMMARY The same as a table" in seen


@pytest.mark.parametrize("width", [320, 390, 768])
async def test_fits_small_screens(dashboard: Dashboard, path: str, width: int) -> None:
    async with browsing(width=width) as page:
        for address in ("/", path, f"{path}/node?id=host-0-4000"):
            await page.goto(dashboard.url + address)
            if address != "/":
                await page.wait_for_selector("#curves canvas")
            beyond = "document.documentElement.scrollWidth - innerWidth"
            assert await page.evaluate(beyond) <= 0, address


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_accessibility_by_axe(
    dashboard: Dashboard, guarded: Dashboard, path: str, scheme: str
) -> None:
    from axe_playwright_python.async_playwright import Axe

    addresses = [
        f"{dashboard.url}/", dashboard.url + path, f"{dashboard.url}{path}/node?id=host-0-4000",
        f"{dashboard.url}/crawl/no:such", f"{guarded.url}/login",
    ]  # fmt: skip
    async with browsing(scheme=scheme) as page:
        for address in addresses:
            await page.goto(address)
            if "host-0" in address or address.endswith(path):
                await page.wait_for_selector("#curves canvas")
            found = (await Axe().run(page)).response["violations"]
            faults = [(fault["id"], [n["html"] for n in fault["nodes"]]) for fault in found]
            assert faults == [], address


async def test_login(guarded: Dashboard, path: str) -> None:
    async with browsing() as page:
        await page.goto(guarded.url + path)
        await page.fill("#token", "wrong")
        await page.keyboard.press("Enter")
        await page.wait_for_selector("text=That is not the token")
        await page.fill("#token", TOKEN)
        await page.keyboard.press("Enter")
        await page.wait_for_selector("#curves canvas")
        assert page.url == guarded.url + path
        assert await page.evaluate("document.cookie") == ""
        await page.click("text=Log out")
        await page.wait_for_selector("#token")
        await page.goto(guarded.url + path)
        await page.wait_for_selector("#token")


async def test_a_login_that_ends_leads_back_to_the_form(guarded: Dashboard, path: str) -> None:
    async with browsing() as page:
        await page.goto(guarded.url + path)
        await page.fill("#token", TOKEN)
        await page.keyboard.press("Enter")
        await page.wait_for_selector(".figures")
        await page.context.clear_cookies()
        await page.wait_for_selector("#token")


async def test_redis_goes_and_comes_back(redis_alone: LocalRedis) -> None:
    with Dashboard(redis_alone.url) as dashboard:
        async with browsing() as page:
            await page.goto(f"{dashboard.url}/crawl/p:s")
            await wait_for_text(page, "#status", "Live")
            redis_alone.kill()
            await wait_for_text(page, "#status", "cannot be reached")
            # What was seen last stays to be read.
            assert await page.locator(PAGES_TILE).count() == 1
            redis_alone.restart()
            await wait_for_text(page, "#status", "Live")

            # The same for who comes while it is away.
            redis_alone.kill()
            wait_until(lambda: dashboard.ask("/crawl/p:s").status == 503, "the page says so")
            await page.goto(f"{dashboard.url}/crawl/p:s")
            await wait_for_text(page, "h1", "Redis does not answer")
            redis_alone.restart()
            await wait_for_text(page, "h1", "p:s")
            await page.wait_for_selector("#curves canvas")


async def test_the_dashboard_goes(redis_alone: LocalRedis) -> None:
    with Dashboard(redis_alone.url) as dashboard:
        async with browsing() as page:
            await page.goto(f"{dashboard.url}/crawl/p:s")
            await wait_for_text(page, "#status", "Live")
            dashboard.stop()
            await wait_for_text(page, "#status", "The dashboard does not answer")
            assert await page.locator(PAGES_TILE).count() == 1
