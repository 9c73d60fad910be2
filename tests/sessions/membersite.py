"""A site with a login, in threads of the test's process."""

from __future__ import annotations

import threading
import time
from collections import Counter
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = "s3cr3t-value"


class MemberSite:
    """``/login`` sets a cookie, ``/logout`` takes it back; every page says who is in."""

    def __init__(self, delay: float = 0.0) -> None:
        self.hits: Counter[str] = Counter()
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                site.hits[self.path] += 1
                time.sleep(delay)
                cookies = SimpleCookie(self.headers.get("Cookie", ""))
                inside = "session" in cookies and cookies["session"].value == SECRET
                body = b"member" if inside else b"stranger"
                self.send_response(200)
                if self.path.startswith("/login"):
                    self.send_header("Set-Cookie", f"session={SECRET}; Path=/; HttpOnly")
                if self.path.startswith("/logout"):
                    self.send_header("Set-Cookie", "session=; Path=/; Max-Age=0")
                self.send_header("Content-Type", "text/plain")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __enter__(self) -> MemberSite:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.shutdown()
        self._server.server_close()
