"""Who gets the page, and who does not."""

from __future__ import annotations

import base64
import re
import socket
import subprocess
import sys
from http.cookies import SimpleCookie
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest

from crawlo_scrapy.dashboard.access import MOST_FORM, Access, own_path
from crawlo_scrapy.localserver import LocalRedis
from tests.dashboard.conftest import TOKEN, Answer, Dashboard

BROWSER = {"Accept": "text/html,application/xhtml+xml"}
FORM = {"Content_Type": "application/x-www-form-urlencoded"}


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def log_in(dashboard: Dashboard, token: str = TOKEN, then: str = "", **headers: str) -> Answer:
    path = "/login" + (f"?{urlencode({'next': then})}" if then else "")
    return dashboard.ask(path, "POST", urlencode({"token": token}), **FORM, **headers)


# Without a token: by this machine only, under its own names.


@pytest.mark.parametrize("host", ["localhost", "localhost:6880", "127.0.0.1:1", "[::1]:80"])
def test_own_names(dashboard: Dashboard, host: str) -> None:
    assert dashboard.ask("/", Host=host).status == 200


@pytest.mark.parametrize(
    "host", ["evil.test", "localhost.evil.test", "127.0.0.1.evil.test", "", "["]
)
def test_a_foreign_name_that_leads_here_is_refused(dashboard: Dashboard, host: str) -> None:
    answer = dashboard.ask("/", Host=host)
    assert answer.status == 400
    assert "Crawls" not in answer.text


def test_a_name_can_be_allowed() -> None:
    access = Access(None, ["Crawl.example.com"])
    assert access.knows_host("crawl.example.com:443")
    assert access.knows_host("localhost")
    assert not access.knows_host("example.com")


def test_with_a_token_any_name_will_do_unless_names_are_given() -> None:
    assert Access(TOKEN).knows_host("crawl.example.com")
    assert not Access(TOKEN, ["a.test"]).knows_host("b.test")


def test_nothing_to_log_into(dashboard: Dashboard) -> None:
    assert "Log out" not in dashboard.page("/")
    assert dashboard.ask("/login").headers["location"] == "/"


# With a token.


@pytest.mark.parametrize("path", ["/", "/crawl/a:b", "/crawl/a:b/curves.json", "/nowhere"])
def test_a_program_without_token_is_told(guarded: Dashboard, path: str) -> None:
    answer = guarded.ask(path)
    assert answer.status == 401
    # No "Basic": that opens the browser's own window.
    assert answer.headers["www-authenticate"].startswith("Bearer ")


def test_a_browser_is_sent_to_the_login(guarded: Dashboard) -> None:
    answer = guarded.ask("/crawl/a:b?run=2", **BROWSER)
    assert answer.status == 303
    assert answer.headers["location"] == "/login?next=" + quote("/crawl/a:b?run=2", safe="")
    answer = guarded.ask("/crawl/a%2520b:c", **BROWSER)
    assert answer.headers["location"] == "/login?next=" + quote("/crawl/a%2520b:c", safe="")


@pytest.mark.parametrize(
    "login",
    [f"Bearer {TOKEN}", f"bearer  {TOKEN}", basic("", TOKEN), basic("anybody", TOKEN)],
)
def test_the_token_opens(guarded: Dashboard, login: str) -> None:
    assert guarded.ask("/", Authorization=login).status == 200


@pytest.mark.parametrize(
    "login",
    ["Bearer", "Bearer wrong", f"Bearer {TOKEN}x", f"Token {TOKEN}", "Basic %%%", basic(TOKEN, ""),
     basic("a", "wrong"), "Basic /w==", f"Bearer {TOKEN[:-1]}"],
)  # fmt: skip
def test_nothing_else_does(guarded: Dashboard, login: str) -> None:
    assert guarded.ask("/", Authorization=login).status == 401


def test_login_gives_a_cookie(guarded: Dashboard) -> None:
    answer = log_in(guarded, then="/crawl/a:b?run=2")
    assert (answer.status, answer.headers["location"]) == (303, "/crawl/a:b?run=2")
    cookie = SimpleCookie(answer.headers["set-cookie"])
    [(name, morsel)] = cookie.items()
    assert (morsel["httponly"], morsel["samesite"].lower()) == (True, "strict")
    assert (morsel["path"], morsel["secure"]) == ("/", "")
    assert TOKEN not in answer.headers["set-cookie"]

    sent = f"{name}={morsel.value}"
    page = guarded.ask("/", Cookie=sent)
    assert page.status == 200
    assert "Log out" in page.text
    assert guarded.ask("/", Cookie=f"{name}={morsel.value}x").status == 401

    assert guarded.ask("/logout", "POST", Cookie=sent).headers["location"] == "/login"
    assert guarded.ask("/", Cookie=sent).status == 401


def test_the_cookie_is_secure_behind_tls(guarded: Dashboard) -> None:
    cookie = log_in(guarded, X_Forwarded_Proto="https").headers["set-cookie"]
    assert "; secure" in cookie.lower()


def test_a_wrong_token_is_told(guarded: Dashboard) -> None:
    answer = log_in(guarded, "wrong")
    assert answer.status == 403
    assert "not the token" in answer.text
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("body", ["", "token", "x=1", "token=%ff%00", "token=" + "a" * MOST_FORM])
def test_forms_of_any_kind(guarded: Dashboard, body: str) -> None:
    assert guarded.ask("/login", "POST", body, **FORM).status == 403


@pytest.mark.parametrize(
    "path",
    ["https://evil.test/", "//evil.test", "/\\evil.test", "\\/evil.test", "http://[",
     "javascript:alert(1)", "", "/\n/evil.test", "crawl"],
)  # fmt: skip
def test_login_leads_to_no_other_site(guarded: Dashboard, path: str) -> None:
    assert log_in(guarded, then=path).headers["location"] == "/"
    assert own_path(path) is None


def test_login_page_needs_no_token(guarded: Dashboard) -> None:
    page = guarded.ask("/login")
    assert page.status == 200
    for asset in re.findall(r'(?:src|href)="(/assets/[^"]+)"', page.text):
        assert guarded.ask(asset).status == 200


def test_the_token_is_in_no_output(redis_server: LocalRedis) -> None:
    with Dashboard(redis_server.url, token=TOKEN) as dashboard:
        log_in(dashboard, then="/")
        dashboard.ask(f"/?token={TOKEN}")
        dashboard.ask("/", Authorization=f"Bearer {TOKEN}")
    assert dashboard.output == ""


# Every answer.


@pytest.mark.parametrize(
    "path", ["/", "/nowhere", "/crawl/no:such", "/assets/live.js", "/assets/nothing", "/login"]
)
def test_headers_that_protect(dashboard: Dashboard, path: str) -> None:
    headers = dashboard.ask(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-frame-options"] == "DENY"
    assert headers["x-content-type-options"] == "nosniff"
    assert "server" not in headers


@pytest.mark.parametrize("path", ["/", "/login"])
def test_pages_are_not_kept(guarded: Dashboard, path: str) -> None:
    assert guarded.ask(path).headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.test"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:1"},
    ],
)
def test_what_changes_something_comes_from_our_pages(
    guarded: Dashboard, headers: dict[str, str]
) -> None:
    assert log_in(guarded, **headers).status == 403
    assert "set-cookie" not in log_in(guarded, **headers).headers


def test_our_own_page_may(guarded: Dashboard) -> None:
    host = f"127.0.0.1:{guarded.port}"
    assert log_in(guarded, Origin=f"http://{host}", Host=host).status == 303
    assert log_in(guarded, **{"Sec-Fetch-Site": "same-origin"}).status == 303


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_pages_are_only_read(dashboard: Dashboard, method: str) -> None:
    assert dashboard.ask("/", method).status == 405


@pytest.mark.parametrize("path", ["/assets/../pages.py", "/assets/%2e%2e/pages.py", "/assets/"])
def test_nothing_but_assets_is_served(dashboard: Dashboard, path: str) -> None:
    assert dashboard.ask(path).status == 404


# What the command refuses.


def refused(*words: str, token: str = "", before: str = "") -> str:
    """Run the command to its end and return its one line."""
    done = subprocess.run(
        [sys.executable, "-c", f"{before}from crawlo_scrapy.cli import main; main()", "dashboard",
         "--port", "0", *words],
        env={"PATH": "/usr/bin", "CRAWLO_DASHBOARD_TOKEN": token, "PYTHONPATH": ":".join(sys.path)},
        capture_output=True, text=True, timeout=60, cwd="/",
    )  # fmt: skip
    assert done.returncode in (1, 2)
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_beyond_this_machine_only_with_a_token(host: str) -> None:
    assert "give a --token" in refused("--host", host)


def test_a_short_token_is_refused() -> None:
    said = refused("--host", "0.0.0.0", token="short-one")
    assert "16 characters" in said
    assert "short-one" not in said


def test_a_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        assert f"127.0.0.1:{port}" in refused("--port", port)


def test_a_host_that_is_none() -> None:
    assert "cannot listen at no.such.host.invalid" in refused("--host", "no.such.host.invalid")


def test_without_the_extra() -> None:
    said = refused(before="import sys; sys.modules['starlette'] = None; ")
    assert "pip install 'crawlo_scrapy[dashboard]'" in said


def test_a_redis_url_that_is_none() -> None:
    said = refused("--redis-url", "redis://user:pass@word@host:port/x")
    assert "pass" not in said.replace("password", "")


def test_behind_a_proxy_in_a_folder(redis_server: LocalRedis, tmp_path: Path) -> None:
    with Dashboard(
        redis_server.url, "--root-path", "crawls/", token=TOKEN, cwd=tmp_path
    ) as dashboard:
        # A proxy takes the folder away.
        to_login = dashboard.ask("/crawl/a:b", **BROWSER)
        assert to_login.headers["location"] == "/crawls/login?next=%2Fcrawls%2Fcrawl%2Fa%3Ab"
        page = dashboard.ask("/login").text
        assert 'href="/crawls/assets/dashboard.css"' in page
        answer = log_in(dashboard, then="/crawls/crawl/a:b")
        assert answer.headers["location"] == "/crawls/crawl/a:b"
        assert "Path=/crawls" in answer.headers["set-cookie"]
        page = dashboard.ask("/", Authorization=f"Bearer {TOKEN}").text
        assert set(re.findall(r'(?:href|src|action)="(/[^/"]+)', page)) == {"/crawls"}
