"""Steering a crawl from its page."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Mapping
from html import unescape
from typing import TypeVar
from urllib.parse import quote, urlencode

import pytest

from benchmarks.simulated import SimulatedCrawl
from crawlo_scrapy.dashboard.tables import node_name
from crawlo_scrapy.localserver import LocalRedis
from crawlo_scrapy.store.acl import reader_rule
from crawlo_scrapy.store.control import Control, wanted_rows
from crawlo_scrapy.store.dead_letters import DeadLetters
from crawlo_scrapy.store.keys import Keys
from tests.dashboard.browser import browsing
from tests.dashboard.conftest import TOKEN, Answer, Dashboard, client_of
from tests.dashboard.test_access import FORM
from tests.dashboard.test_pages import EXAMPLE, HOSTILE, Page, figure

T = TypeVar("T")
NODE = "host-0-4001"
NOTHING: Mapping[str, str] = {}


def post(
    dashboard: Dashboard, path: str, verb: str, fields: Mapping[str, str] = NOTHING, **headers: str
) -> Answer:
    """Send the form that a person is asked to confirm."""
    form = urlencode({"sure": "yes", **fields})
    return dashboard.ask(f"{path}/do/{verb}", "POST", form, **{**FORM, **headers})


async def look(redis_url: str, keys: Keys, what: Callable[[Control], Awaitable[T]]) -> T:
    async with client_of(redis_url) as client:
        return await what(Control(client, keys))


async def wanted(redis_url: str, crawl: SimulatedCrawl) -> dict[str, str]:
    return await look(redis_url, crawl.keys, Control.read)


async def latest(redis_url: str, crawl: SimulatedCrawl) -> tuple[str, str]:
    [note] = await look(redis_url, crawl.keys, lambda control: control.audit(1))
    return note.who, note.what


# The whole crawl.


async def test_pause_and_resume(
    acting: Dashboard, redis_url: str, crawl: SimulatedCrawl, path: str
) -> None:
    assert f'href="{path}/do/pause"' in acting.page(path)
    question = acting.page(f"{path}/do/pause")
    assert "Pause the crawl?" in question
    # Asking changes nothing.
    assert ">running</span>" in acting.page(path)

    answer = post(acting, path, "pause")
    assert (answer.status, answer.headers["location"]) == (303, f"{path}#control")
    text = acting.page(path)
    assert ">paused</span>" in text
    assert f'href="{path}/do/resume"' in text
    assert f'href="{path}/do/pause"' not in text
    assert ["dashboard 127.0.0.1", "pause"] in [row[1:] for row in Page(text).rows]

    assert post(acting, path, "resume").status == 303
    assert ">running</span>" in acting.page(path)
    assert await latest(redis_url, crawl) == ("dashboard 127.0.0.1", "resume")


@pytest.mark.parametrize("now", [False, True])
async def test_stop(
    acting: Dashboard, redis_url: str, crawl: SimulatedCrawl, path: str, now: bool
) -> None:
    assert post(acting, path, "stop", {"now": "yes"} if now else {}).status == 303
    assert (await wanted(redis_url, crawl))["stop"] == ("now" if now else "through")
    assert ">stopping</span>" in acting.page(path)


async def test_concurrency_and_delay(
    acting: Dashboard, redis_url: str, crawl: SimulatedCrawl, path: str
) -> None:
    question = acting.page(f"{path}/do/scale?concurrency=7")
    assert "Set the concurrency of each worker to 7?" in question
    assert 'name="concurrency" value="7"' in question
    assert post(acting, path, "scale", {"concurrency": "7"}).status == 303
    assert post(acting, path, "scale", {"concurrency": "3", "node": NODE}).status == 303
    assert await wanted(redis_url, crawl) == {"concurrency": "7", f"concurrency:{NODE}": "3"}
    rows = Page(acting.page(path)).rows
    assert ["concurrency", "all nodes", "7", "Take back…"] in rows
    assert ["concurrency", NODE, "3", "Take back…"] in rows

    assert post(acting, path, "delay", {"slot": "a.test", "seconds": "2.5"}).status == 303
    assert (await latest(redis_url, crawl))[1] == "delay a.test 2.5"
    assert post(acting, path, "delay", {"slot": "a.test", "seconds": ""}).status == 303
    assert (await latest(redis_url, crawl))[1] == "delay a.test default"
    question = acting.page(f"{path}/do/delay?slot=a.test:80&seconds=1")
    assert "the slot of the host is a.test." in question
    assert "slot of the host" not in acting.page(f"{path}/do/delay?slot=a.test&seconds=1")


async def test_a_setting_and_taking_back(
    acting: Dashboard, redis_url: str, crawl: SimulatedCrawl, path: str
) -> None:
    asked = urlencode({"setting": "DOWNLOAD_DELAY", "value": "1.5"})
    question = acting.page(f"{path}/do/set?{asked}")
    assert "Set DOWNLOAD_DELAY to 1.5?" in question
    assert "Yes, set it" in question
    chosen = {"setting": "DOWNLOAD_DELAY", "value": "1.5"}
    assert post(acting, path, "set", chosen).status == 303
    assert post(acting, path, "scale", {"concurrency": "3", "node": NODE}).status == 303
    assert (await latest(redis_url, crawl))[1] == f"scale --concurrency 3 --node {NODE}"
    wanted_now = {"set:DOWNLOAD_DELAY": "1.5", f"concurrency:{NODE}": "3"}
    assert await wanted(redis_url, crawl) == wanted_now
    text = acting.page(path)
    assert ["DOWNLOAD_DELAY", "all nodes", "1.5", "Take back…"] in Page(text).rows
    for back in ("set?setting=DOWNLOAD_DELAY&amp;value=default",
                 f"scale?concurrency=default&amp;node={NODE}"):  # fmt: skip
        assert f'href="{path}/do/{back}"' in text
        question = acting.page(f"{path}/do/{unescape(back)}")
        assert "Take " in question
        assert "back?" in question or "Take back the concurrency" in question
    assert post(acting, path, "set", {"setting": "DOWNLOAD_DELAY", "value": ""}).status == 303
    assert (await latest(redis_url, crawl))[1] == "set DOWNLOAD_DELAY --default"
    fields = {"concurrency": "default", "node": NODE}
    assert post(acting, path, "scale", fields).status == 303
    assert (await latest(redis_url, crawl))[1] == f"scale --default --node {NODE}"
    assert await wanted(redis_url, crawl) == {}


@pytest.mark.parametrize(
    ("verb", "fields"),
    [
        ("set", {"setting": "", "value": "1"}),
        ("set", {"setting": "USER_AGENT", "value": "x"}),
        ("set", {"setting": "LOG_LEVEL", "value": "loud"}),
        *[("scale", {"concurrency": text}) for text in ("", "0", "-1", "x", "1.5", "²", "9" * 7)],
        *[("delay", {"slot": "a.test", "seconds": text}) for text in ("x", "-1", "nan", "1e6")],
        ("delay", {"slot": " ", "seconds": "1"}),
        ("drain", {}),
        ("pause", {"node": ""}),
        ("scale", {"concurrency": "1", "node": " "}),
        ("requeue", {"reason": ""}),
    ],
)
async def test_what_makes_no_sense_is_told(
    acting: Dashboard, redis_url: str, crawl: SimulatedCrawl, path: str, verb: str,
    fields: dict[str, str],
) -> None:  # fmt: skip
    for answer in (
        post(acting, path, verb, fields), acting.ask(f"{path}/do/{verb}?{urlencode(fields)}"),
    ):  # fmt: skip
        assert answer.status == 400
        assert 'role="alert"' in answer.text
    assert await look(redis_url, crawl.keys, Control.audit) == []


async def test_a_form_that_is_not_whole_does_nothing(
    acting: Dashboard, redis_url: str, crawl: SimulatedCrawl, path: str
) -> None:
    too_long = {"node": "n" * 5000}
    for answer in (
        post(acting, path, "pause", too_long),
        acting.ask(f"{path}/do/pause", "POST", "node=x", **FORM),
        acting.ask(f"{path}/do/pause", "POST"),
    ):
        assert answer.status == 400
        assert "did not arrive" in answer.text
    assert await look(redis_url, crawl.keys, Control.audit) == []


# One node.


async def test_nodes(acting: Dashboard, redis_url: str, crawl: SimulatedCrawl, path: str) -> None:
    node_page = f"{path}/node?id={NODE}"
    for page in (path, node_page):
        text = acting.page(page)
        assert f'href="{path}/do/pause?node={NODE}" aria-label="Pause {NODE}…"' in text
        assert f'href="{path}/do/drain?node={NODE}"' in text
    question = acting.page(f"{path}/do/pause?node={NODE}")
    assert f"Pause {NODE}?" in question
    # A login that has ended leads back here, not to the pause of the whole crawl.
    assert f'action="{path}/do/pause?node={NODE}"' in question
    assert post(acting, path, "pause", {"node": NODE}).status == 303
    assert await wanted(redis_url, crawl) == {f"pause:{NODE}": "1"}
    found = Page(acting.page(path))
    assert "paused" in found.row(NODE)[0]
    assert found.row("host-0-4000")[0] == "running"
    assert f'href="{path}/do/resume?node={NODE}"' in acting.page(node_page)

    assert post(acting, path, "resume", {"node": NODE}).status == 303
    assert post(acting, path, "drain", {"node": NODE}).status == 303
    assert Page(acting.page(path)).row(NODE)[0].endswith("draining")
    assert await latest(redis_url, crawl) == ("dashboard 127.0.0.1", f"drain {NODE}")


def test_names_of_nodes() -> None:
    assert [node_name(name) for name in ("a", "a~2", "a~b")] == ["a", "a", "a~b"]


def test_what_is_wanted_as_rows() -> None:
    fields = {"pause:a:b": "1", "set:LOG_LEVEL": "DEBUG", "concurrency": "3", "stop": "now"}
    assert wanted_rows(fields) == [
        ("concurrency", "", "3"), ("pause", "a:b", "yes"), ("LOG_LEVEL", "", "DEBUG"),
        ("stop", "", "now"),
    ]  # fmt: skip


# Dead letters.


async def count_letters(redis_url: str, keys: Keys) -> int:
    async with client_of(redis_url) as client:
        return await DeadLetters(client, keys).count()


async def test_requeue_by_reason(
    acting: Dashboard, redis_url: str, crawl: SimulatedCrawl, path: str
) -> None:
    assert f'href="{path}/do/requeue?reason=failed"' in acting.page(path)
    assert "dead letters: failed?" in acting.page(f"{path}/do/requeue?reason=failed")
    assert post(acting, path, "requeue", {"reason": "failed"}).status == 303
    assert await count_letters(redis_url, crawl.keys) == 6
    text = acting.page(path)
    assert figure(text, "Dead letters") == "6"
    assert "reason=failed" not in text
    assert (await latest(redis_url, crawl))[1] == "dead-letters requeue --reason failed (2)"


# What is not possible.


async def test_a_finished_crawl(
    acting: Dashboard, redis_url: str, crawl: SimulatedCrawl, path: str
) -> None:
    async with client_of(redis_url) as client:
        await client.call("hset", crawl.keys.meta, "state", "finished")
    answer = post(acting, path, "pause")
    assert answer.status == 409
    assert "This is not possible: the crawl is finished." in answer.text
    assert "/do/stop" not in acting.page(path)


@pytest.mark.parametrize(
    ("wanted", "status", "said"),
    [("/crawl/no:such/do/pause", 409, "no such crawl"), ("/crawl/one/do/pause", 404, "Not here")],
)
def test_no_such_crawl(acting: Dashboard, wanted: str, status: int, said: str) -> None:
    answer = acting.ask(wanted, "POST", "sure=yes", **FORM)
    assert answer.status == status
    assert said in answer.text


def test_no_such_action(acting: Dashboard, path: str) -> None:
    assert acting.ask(f"{path}/do/purge").status == 404
    assert post(acting, path, "purge").status == 404


async def test_a_user_who_may_only_read(redis_alone: LocalRedis) -> None:
    async with client_of(redis_alone.url) as client:
        await client.call(
            "execute_command", "ACL", "SETUSER", "viewer", "on", ">looks", *reader_rule().split()
        )
    address = f"redis://viewer:looks@127.0.0.1:{redis_alone.port}/0"
    with Dashboard(address, "--actions") as dashboard:
        for verb, fields in (
            ("pause", {}), ("pause", {"node": NODE}), ("drain", {"node": NODE}),
            ("set", {"setting": "LOG_LEVEL", "value": "DEBUG"}),
            ("delay", {"slot": "a.test"}), ("requeue", {"reason": "failed"}),
        ):  # fmt: skip
            answer = post(dashboard, "/crawl/p:s", verb, fields)
            assert answer.status == 403
            assert "needs the rights of a worker" in answer.text
        page = dashboard.page("/crawl/p:s")
    assert ">running</span>" in page
    assert "Nobody has steered this crawl" in page
    assert figure(page, "Dead letters") == "8"
    assert await look(redis_alone.url, Keys("p", "s"), Control.read) == {}


def test_redis_is_away() -> None:
    with Dashboard("redis://127.0.0.1:1", "--actions") as dashboard:
        answer = post(dashboard, "/crawl/p:s", "pause")
    assert answer.status == 503
    assert "The log tells whether it was done" in answer.text


# Who may.


async def test_without_a_token_it_only_reads(
    dashboard: Dashboard, redis_url: str, crawl: SimulatedCrawl, path: str
) -> None:
    await look(redis_url, crawl.keys, lambda control: control.pause_node("eve", NODE))
    text = dashboard.page(path)
    assert "/do/" not in text
    # What others did is shown all the same.
    assert "paused" in Page(text).row(NODE)[0]
    assert ["eve", f"pause --node {NODE}"] in [row[1:] for row in Page(text).rows]
    assert dashboard.ask(f"{path}/do/pause").status == 404
    assert post(dashboard, path, "pause").status == 404


async def test_with_a_token_who_is_logged_in_may(
    guarded: Dashboard, redis_url: str, crawl: SimulatedCrawl, path: str
) -> None:
    assert post(guarded, path, "pause").status == 401
    login = "Basic " + base64.b64encode(f"alice:{TOKEN}".encode()).decode()
    assert post(guarded, path, "pause", Authorization=login).status == 303
    assert await latest(redis_url, crawl) == ("dashboard alice@127.0.0.1", "pause")
    assert post(guarded, path, "resume", Authorization=f"Bearer {TOKEN}").status == 303
    assert await latest(redis_url, crawl) == ("dashboard 127.0.0.1", "resume")


def test_a_token_for_reading_only(redis_url: str, crawl: SimulatedCrawl, path: str) -> None:
    with Dashboard(redis_url, "--all", "--read-only", token=TOKEN) as dashboard:
        answer = post(dashboard, path, "pause", Authorization=f"Bearer {TOKEN}")
        assert answer.status == 404


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://evil.test"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"},
     {"Sec-Fetch-Site": "same-site"}, {"Host": "evil.test"}],
)  # fmt: skip
async def test_not_from_a_foreign_page(
    acting: Dashboard, redis_url: str, crawl: SimulatedCrawl, path: str, headers: dict[str, str]
) -> None:
    assert post(acting, path, "pause", NOTHING, **headers).status in (400, 403)
    assert await look(redis_url, crawl.keys, Control.audit) == []


async def test_not_in_another_project(redis_url: str, crawl: SimulatedCrawl, path: str) -> None:
    with Dashboard(redis_url, "--actions", cwd=EXAMPLE) as dashboard:
        assert post(dashboard, path, "pause").status == 404
    assert await look(redis_url, crawl.keys, Control.audit) == []


async def test_hostile_strings(
    acting: Dashboard, redis_url: str, crawl: SimulatedCrawl, path: str
) -> None:
    login = "Basic " + base64.b64encode(f"{HOSTILE}\n:".encode()).decode()
    assert post(acting, path, "pause", {"node": HOSTILE}, Authorization=login).status == 303
    hostile = quote(HOSTILE)
    for page in (path, f"{path}/do/drain?node={hostile}", f"{path}/do/scale?concurrency={hostile}"):
        text = acting.ask(page).text
        assert "alert(1)" in text
        assert "<img" not in text
        assert "<script>" not in text
        assert not any(n.startswith("on") for _, a in Page(text).tags for n in a)
    assert HOSTILE in (await wanted(redis_url, crawl)).popitem()[0]


# In a browser.


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_in_a_browser(
    guarded: Dashboard, crawl: SimulatedCrawl, path: str, scheme: str
) -> None:
    from axe_playwright_python.async_playwright import Axe

    async with browsing(width=320, scheme=scheme) as page:

        async def check() -> None:
            found = (await Axe().run(page)).response["violations"]
            faults = [(fault["id"], [n["html"] for n in fault["nodes"]]) for fault in found]
            assert faults == [], page.url
            assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0

        await page.goto(guarded.url + path)
        await page.fill("#token", TOKEN)
        await page.keyboard.press("Enter")
        await page.wait_for_selector("#curves canvas")
        await check()
        # By keyboard, with the cookie, and past the checks of where a form comes from.
        await page.focus("text=Stop…")
        await page.keyboard.press("Enter")
        await page.wait_for_selector("text=Stop the crawl?")
        await check()
        await page.focus("button.main")
        await page.keyboard.press("Enter")
        await page.wait_for_selector("h1 .badge.stopping")
        await page.wait_for_selector("#control:focus")
        await page.fill("#concurrency", "5")
        # What is typed outlasts the page's updates.
        await page.wait_for_selector("#status:text-is('Live')")
        await page.keyboard.press("Enter")
        await page.click("button.main")
        await page.wait_for_selector("#wanted >> text=concurrency")
        await check()
        await page.select_option("#setting", "LOG_LEVEL")
        await page.fill("#value", "debug")
        await page.keyboard.press("Enter")
        await page.wait_for_selector("text=Set LOG_LEVEL to debug?")
        await check()
        await page.click("button.main")
        await page.click("[aria-label='Take LOG_LEVEL back…']")
        await page.wait_for_selector("text=Take LOG_LEVEL back?")
        await page.click("button.main")
        await page.wait_for_selector("#log >> text=set LOG_LEVEL --default")
        assert await page.locator("#wanted >> text=LOG_LEVEL").count() == 0
        await page.goto(f"{guarded.url}{path}/node?id={NODE}")
        await page.wait_for_selector("#curves canvas")
        await check()
