"""Servers that take what alerts are sent to, and remember it."""

from __future__ import annotations

import json
import threading
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from crawlo_scrapy.serverprocess import HOST, free_port

if TYPE_CHECKING:
    from typing_extensions import Self

#: Stands in the path, as the token of a real one does.
TOKEN = "T0KEN-s3cret"


class Hook:
    """An HTTP server. `answers` are the statuses of the next answers; afterwards it is 200."""

    def __init__(self) -> None:
        self.posts: list[dict[str, Any]] = []
        self.answers: list[int] = []
        self.requests = 0
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                hook.requests += 1
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status = hook.answers.pop(0) if hook.answers else 200
                if status == 200 and self.path == f"/services/{TOKEN}":
                    hook.posts.append(body)
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_GET(self) -> None:
                raise AssertionError("an alert must not be followed to another place")

            def log_message(self, *args: Any) -> None:
                return

        self._server = ThreadingHTTPServer((HOST, 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.02], daemon=True)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._server.server_address[1]}/services/{TOKEN}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class MailServer:
    """An SMTP server. With *login* only that user and password may send."""

    def __init__(self, login: tuple[str, str] | None = None) -> None:
        self.mails: list[tuple[list[str], EmailMessage]] = []
        self.refused: set[str] = set()
        options: dict[str, Any] = {}
        if login:
            wanted = tuple(part.encode() for part in login)
            options = {
                "authenticator": lambda server, session, envelope, mechanism, data: AuthResult(
                    success=(data.login, data.password) == wanted, handled=False
                ),
                "auth_required": True,
                "auth_require_tls": False,
            }
        self.port = free_port()
        self._controller = Controller(self, hostname=HOST, port=self.port, **options)

    async def handle_RCPT(
        self, server: Any, session: Any, envelope: Any, address: str, options: Any
    ) -> str:
        if address in self.refused:
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        message = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(message, EmailMessage)
        self.mails.append((envelope.rcpt_tos, message))
        return "250 OK"

    @property
    def settings(self) -> dict[str, Any]:
        return {"MAIL_HOST": HOST, "MAIL_PORT": self.port, "CRAWLO_ALERT_MAIL_TO": ["ops@a.test"]}

    def __enter__(self) -> Self:
        self._controller.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._controller.stop()
