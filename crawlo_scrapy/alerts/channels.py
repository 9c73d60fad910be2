"""Ways to tell somebody. All of them wait for the network: call `send` in a thread only."""

from __future__ import annotations

import http.client
import json
import smtplib
import ssl
import urllib.error
import urllib.request
from email.message import EmailMessage
from email.utils import format_datetime, localtime, make_msgid
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from crawlo_scrapy import __version__
from crawlo_scrapy import settings as ours
from crawlo_scrapy.alerts.notices import Notice
from crawlo_scrapy.alerts.rules import CHANNELS
from crawlo_scrapy.settings import SettingError

if TYPE_CHECKING:
    from scrapy.settings import BaseSettings

#: How long each step of a delivery may take, in seconds.
TIMEOUT = 10.0
#: Answers by which a server says that another time it may be different.
_PASSING = {408, 425, 429, *range(500, 600)}


class NotSent(Exception):
    """A notice was not taken. The text holds no secret; `final`: trying again is of no use."""

    def __init__(self, why: str, *, final: bool = False) -> None:
        super().__init__(why)
        self.final = final


class Channel:
    """`kind` is the name by which rules choose it, `shown` says where it leads, without secrets."""

    kind: str
    shown: str

    def send(self, notice: Notice) -> None:
        """Return once the notice was taken. Raises `NotSent`."""
        raise NotImplementedError


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """What is posted would arrive elsewhere as a GET, without its body, and look well."""

    def redirect_request(self, *args: Any) -> None:
        return None


class Webhook(Channel):
    """Posts JSON to a URL, which holds a secret as a rule and is never shown."""

    kind = "webhook"

    def __init__(self, url: str) -> None:
        self._url = url
        self.shown = f"{urlsplit(url).scheme}://{urlsplit(url).hostname}"
        self._opener = urllib.request.build_opener(_NoRedirects)

    def body(self, notice: Notice) -> dict[str, Any]:
        return notice.as_dict()

    def send(self, notice: Notice) -> None:
        request = urllib.request.Request(
            self._url,
            json.dumps(self.body(notice)).encode(),
            {"Content-Type": "application/json", "User-Agent": f"crawlo-scrapy/{__version__}"},
        )
        try:
            with self._opener.open(request, timeout=TIMEOUT):
                pass
        except urllib.error.HTTPError as exc:
            exc.close()
            phrase = http.client.responses.get(exc.code, "")
            why = f"HTTP {exc.code} {phrase}".strip()
            raise NotSent(why, final=exc.code not in _PASSING) from None
        except (OSError, http.client.HTTPException, ValueError) as exc:
            # `from None`, and no text but the system's: the error may quote the URL.
            raise NotSent(_reason(exc)) from None


class Slack(Webhook):
    """Posts what Slack, Mattermost, Rocket.Chat and Discord (its URL with /slack) understand."""

    kind = "slack"

    def body(self, notice: Notice) -> dict[str, Any]:
        return notice.as_slack()


class Mail(Channel):
    """Sends a mail as Scrapy's MAIL_* settings say, to all of *to* at once."""

    kind = "mail"

    def __init__(self, to: list[str], settings: BaseSettings) -> None:
        self._to = to
        self._from = str(settings.get("MAIL_FROM", "scrapy@localhost"))
        self._host = str(settings.get("MAIL_HOST", "localhost"))
        self._port = settings.getint("MAIL_PORT", 25)
        self._user, self._password = settings.get("MAIL_USER"), settings.get("MAIL_PASS")
        self._starttls = settings.getbool("MAIL_TLS")
        self._ssl = settings.getbool("MAIL_SSL")
        self.shown = f"{self._host}:{self._port}"

    def send(self, notice: Notice) -> None:
        try:
            with self._connect() as server:
                refused = server.send_message(self._message(notice), self._from, self._to)
        except smtplib.SMTPResponseException as exc:
            raise NotSent(
                f"the server answered {exc.smtp_code}", final=exc.smtp_code >= 500
            ) from None
        except smtplib.SMTPRecipientsRefused:
            raise NotSent("the server refuses all addresses", final=True) from None
        except (OSError, ValueError) as exc:
            raise NotSent(_reason(exc)) from None
        if refused:
            raise NotSent(f"the server refuses {len(refused)} of the addresses", final=True)

    def _connect(self) -> smtplib.SMTP:
        context = ssl.create_default_context()
        if self._ssl:
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                self._host, self._port, timeout=TIMEOUT, context=context
            )
        else:
            server = smtplib.SMTP(self._host, self._port, timeout=TIMEOUT)
        try:
            if self._starttls and not self._ssl:
                server.starttls(context=context)
            if self._user:
                server.login(str(self._user), str(self._password or ""))
        except BaseException:
            server.close()
            raise
        return server

    def _message(self, notice: Notice) -> EmailMessage:
        message = EmailMessage()
        message["From"] = self._from
        message["To"] = ", ".join(self._to)
        message["Subject"] = notice.title
        message["Date"] = format_datetime(localtime())
        message["Message-ID"] = make_msgid(domain="crawlo-scrapy")
        message.set_content(notice.as_mail())
        return message


def channels_of(settings: BaseSettings) -> list[Channel]:
    """Return all that the CRAWLO_ALERT_* settings name. Raises `SettingError`."""
    found: list[Channel] = []
    for make in (Webhook, Slack):
        setting = CHANNELS[make.kind]
        for number, url in enumerate(ours.get(settings, setting), 1):
            if not _is_url(str(url)):
                raise SettingError(
                    f"{setting}: entry {number} is no URL: it must begin with http:// or https://, "
                    "and hold no user"
                )
            found.append(make(str(url)))
    to = [str(address) for address in ours.get(settings, CHANNELS["mail"])]
    if wrong := [address for address in to if "@" not in address]:
        raise SettingError(f"{CHANNELS['mail']}: {wrong[0]!r} is no address")
    return [*found, Mail(to, settings)] if to else found


def _is_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    # What may not stand in a request is quoted by the error that it makes.
    return whole and parts.username is None and url.isascii() and all(c > " " for c in url)


def _reason(exc: Exception) -> str:
    if isinstance(exc, urllib.error.URLError) and isinstance(exc.reason, Exception):
        exc = exc.reason
    return getattr(exc, "strerror", None) or type(exc).__name__
