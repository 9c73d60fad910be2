"""Who gets the page: whoever knows the token, under a name of ours, and not from a foreign page.

The token comes as ``Authorization: Bearer``, as the password of ``Authorization: Basic``, or once
in the login form, which gives a cookie for it. It stands in no URL and in no log.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import secrets
import socket
import time
from collections.abc import Collection
from urllib.parse import parse_qs, quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crawlo_scrapy.dashboard.urls import Urls

#: How long a login lasts, in seconds.
SESSION = 12 * 3600
#: Logins at one time; of more, the oldest end.
MOST_SESSIONS = 1000
#: The most bytes of a form.
MOST_FORM = 4096

#: No script, style or frame of another origin, and none that stands in a page.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    # Not no-referrer: with that a form is sent with Origin null.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Access:
    """The token, if there is one, and who is logged in.

    Without a token everybody on this host gets in, so the name that a browser was told must be
    *hosts*, localhost, or an address: a foreign name that leads here is DNS rebinding. With a
    token, other names are refused only where *hosts* are given.
    """

    def __init__(self, token: str | None = None, hosts: Collection[str] = ()) -> None:
        self._token = _digest(token) if token else None
        self._hosts = {host.lower() for host in hosts}
        self._sessions: dict[bytes, float] = {}
        # Cookies do not know ports: another dashboard on this host has another name for its own.
        self.cookie = f"crawlo-{secrets.token_hex(4)}"

    @property
    def guarded(self) -> bool:
        """Whether there is a token."""
        return self._token is not None

    def knows_host(self, host: str) -> bool:
        """Whether *host*, from the header of that name, is a name of ours."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if not name:
            return False
        if name in self._hosts or name == "localhost" or _is_address(name):
            return True
        return self.guarded and not self._hosts

    def admits(self, request: HTTPConnection) -> bool:
        """Whether the request brings the token, or the cookie of a login."""
        if self._token is None:
            return True
        kind, _, value = request.headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and self.is_token(value.strip()):
            return True
        if kind.lower() == "basic" and self.is_token(_login(value)[1]):
            return True
        session = request.cookies.get(self.cookie, "")
        return self._sessions.get(_digest(session), 0.0) > time.monotonic()

    def is_token(self, text: str) -> bool:
        return self._token is not None and hmac.compare_digest(_digest(text), self._token)

    def log_in(self, request: Request, response: Response) -> None:
        """Let *response* give the cookie that `admits` knows."""
        now, session = time.monotonic(), secrets.token_urlsafe(32)
        self._sessions = {key: end for key, end in self._sessions.items() if end > now}
        if len(self._sessions) >= MOST_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        # Looked up by its hash, so that the time of a look-up tells nothing.
        self._sessions[_digest(session)] = now + SESSION
        response.set_cookie(
            self.cookie, session, max_age=SESSION, path=root(request) or "/",
            secure=request.url.scheme == "https", httponly=True, samesite="strict",
        )  # fmt: skip

    def log_out(self, request: Request, response: Response) -> None:
        self._sessions.pop(_digest(request.cookies.get(self.cookie, "")), None)
        response.delete_cookie(self.cookie, path=root(request) or "/")


class Border:
    """Outermost of all: refuses foreign names and foreign pages, and adds headers to every answer.

    What changes anything must come from a page of ours, or from a program.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return  # no web sockets here

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        headers = Headers(scope=scope)
        app = self._app
        if not self._access.knows_host(headers.get("host", "")):
            app = PlainTextResponse(
                "This is not a name of the dashboard. Start it with --allow-host NAME, "
                "or open it by its address.\n",
                400,
            )
        elif scope["method"] not in ("GET", "HEAD") and not _is_own(headers):
            app = PlainTextResponse("This comes from a page of another site.\n", 403)
        await app(scope, receive, send_with_headers)


class LoginRequired:
    """Before the pages: sends who is not logged in to the login form."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app
        request = Request(scope)
        if not self._access.admits(request):
            if "text/html" in request.headers.get("accept", ""):
                # Names of crawls hold percent signs.
                query = scope["query_string"].decode("latin-1")
                here = quote(scope["path"], safe="/:") + (f"?{query}" if query else "")
                app = RedirectResponse(Urls(root(request)).login(then=here), 303)
            else:
                # Basic as the challenge would open a window of the browser's own.
                app = PlainTextResponse(
                    "Say who you are: the token as Bearer, or as the password of Basic.\n",
                    401,
                    {"WWW-Authenticate": 'Bearer realm="crawlo-scrapy dashboard"'},
                )
        await app(scope, receive, send)


async def read_form(request: Request) -> dict[str, str]:
    """Return the fields of a form; of one that is too long, none."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_FORM:
            return {}
    fields = parse_qs(body.decode(errors="replace"), keep_blank_values=True)
    return {name: values[0] for name, values in fields.items()}


def root(request: HTTPConnection) -> str:
    """Return the path under which a proxy has the dashboard, without a slash at the end."""
    path: str = request.scope.get("root_path", "")
    return path.rstrip("/")


def caller(request: HTTPConnection) -> str:
    """Return who sends *request*, as he says (the user of Basic), and from which address."""
    kind, _, value = request.headers.get("authorization", "").partition(" ")
    user = _login(value)[0] if kind.lower() == "basic" else ""
    address = request.client.host if request.client else "unknown"
    return f"dashboard {user}@{address}" if user else f"dashboard {address}"


def own_path(path: str) -> str | None:
    """Return *path* if it leads to a page of this site and to no other, else None."""
    inside = path.startswith("/") and not path.startswith(("//", "/\\"))
    return path if inside and path.isprintable() else None


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches *host*: a name, or an address. Raises `OSError`."""
    found = socket.getaddrinfo(host or None, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return all(ipaddress.ip_address(info[4][0]).is_loopback for info in found)


def _is_own(headers: Headers) -> bool:
    if site := headers.get("sec-fetch-site"):
        return site == "same-origin"
    # Browsers that do not tell the site, as over plain HTTP, tell the origin; programs neither.
    origin = headers.get("origin")
    return origin is None or origin.partition("://")[2] == headers.get("host")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _login(value: str) -> tuple[str, str]:
    """Return user and password of basic authentication."""
    try:
        login = base64.b64decode(value.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    user, _, password = login.partition(":")
    return user, password


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
