"""Notices arrive at real servers, and what is secret is not told when they do not."""

from __future__ import annotations

import logging
import ssl
from typing import Any

import pytest
from scrapy.settings import Settings

from crawlo_scrapy.alerts import channels as channels_module
from crawlo_scrapy.alerts import delivery as delivery_module
from crawlo_scrapy.alerts.channels import Mail, NotSent, Slack, Webhook, channels_of
from crawlo_scrapy.alerts.delivery import Delivery
from crawlo_scrapy.alerts.notices import Notice
from crawlo_scrapy.alerts.rules import Rule
from crawlo_scrapy.settings import SettingError
from tests.alerts.sinks import TOKEN, Hook, MailServer

NOTICE = Notice(
    crawl="shop:all", run=3, alert="error_rate", rule="error_rate above=0.1", status="raised",
    text="50 errors for <1,000> pages & more", node="web-1", time=1_800_000_000.5,
    figures={"pages": 1000, "dead_letters": 2},
)  # fmt: skip
RULE = Rule("error_rate", {}, 0)


@pytest.fixture
def hook():
    with Hook() as hook:
        yield hook


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(delivery_module, "PAUSES", (0.01, 0.01, 0.01))


@pytest.fixture
def mail_server():
    with MailServer() as server:
        yield server


def test_a_webhook(hook):
    Webhook(hook.url).send(NOTICE)
    assert hook.posts == [
        {
            "crawl": "shop:all", "run": 3, "alert": "error_rate", "rule": "error_rate above=0.1",
            "status": "raised", "text": "50 errors for <1,000> pages & more", "node": "web-1",
            "time": "2027-01-15T08:00:00+00:00", "figures": {"pages": 1000, "dead_letters": 2},
        }
    ]  # fmt: skip


def test_slack(hook):
    Slack(hook.url).send(NOTICE)
    assert hook.posts == [
        {
            "text": ":rotating_light: shop:all: error_rate: "
            "50 errors for &lt;1,000&gt; pages &amp; more"
        }
    ]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            {"status": "recovered", "text": "all is well"},
            ":white_check_mark: shop:all: over: error_rate: all is well",
        ),
        (
            {"alert": "finished", "text": "5 pages"},
            ":white_check_mark: shop:all: finished: 5 pages",
        ),
    ],
)
def test_good_news(hook, change, text):
    Slack(hook.url).send(Notice(**{**vars(NOTICE), **change}))
    assert hook.posts == [{"text": text}]


def test_a_mail(mail_server):
    settings = Settings(
        {**mail_server.settings, "CRAWLO_ALERT_MAIL_TO": "ops@a.test,b@a.test", "MAIL_FROM": "c@b"}
    )
    [mail] = channels_of(settings)
    mail.send(Notice(**{**vars(NOTICE), "text": "two\r\nlines of Größe"}))
    [(to, message)] = mail_server.mails
    assert to == ["ops@a.test", "b@a.test"]
    assert message["Subject"] == "shop:all: error_rate: two lines of Größe"
    assert (message["From"], message["To"]) == ("c@b", "ops@a.test, b@a.test")
    assert message["Date"] and message["Message-ID"]
    assert "dead letters: 2" in message.get_content().splitlines()


@pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
def test_a_mail_server_that_wants_a_login():
    with MailServer(("me", "hunter2")) as server:
        settings = {**server.settings, "MAIL_USER": "me", "MAIL_PASS": "hunter2"}
        Mail(["a@b"], Settings(settings)).send(NOTICE)
        with pytest.raises(NotSent, match="answered 535") as caught:
            Mail(["a@b"], Settings({**settings, "MAIL_PASS": "wrong"})).send(NOTICE)
        assert caught.value.final
        assert len(server.mails) == 1


def test_addresses_that_are_refused(mail_server):
    mail_server.refused = {"x@b"}
    with pytest.raises(NotSent, match="refuses all addresses"):
        Mail(["x@b"], Settings(mail_server.settings)).send(NOTICE)
    with pytest.raises(NotSent, match="refuses 1 of the addresses"):
        Mail(["x@b", "a@b"], Settings(mail_server.settings)).send(NOTICE)
    assert [to for to, _ in mail_server.mails] == [["a@b"]]


def test_a_mail_server_without_what_is_asked_for(mail_server):
    settings = Settings({**mail_server.settings, "MAIL_TLS": True})
    with pytest.raises(NotSent, match="SMTPNotSupportedError"):
        Mail(["a@b"], settings).send(NOTICE)
    settings = Settings({**mail_server.settings, "MAIL_SSL": True})
    with pytest.raises(NotSent, match=r"(?i)ssl|version"):
        Mail(["a@b"], settings).send(NOTICE)
    assert mail_server.mails == []


@pytest.mark.parametrize(
    ("status", "final"), [(404, True), (301, True), (307, True), (429, False), (503, False)]
)
def test_answers_of_a_webhook(hook, status, final):
    hook.answers = [status]
    with pytest.raises(NotSent, match=f"HTTP {status} ") as caught:
        Webhook(hook.url).send(NOTICE)
    assert caught.value.final is final
    assert hook.requests == 1


@pytest.mark.parametrize(
    "url",
    [
        f"{start}/{TOKEN}"
        for start in ("http://127.0.0.1:1", "https://127.0.0.1:1", "http://a.invalid")
    ],
)
def test_no_secret_in_an_error(url):
    with pytest.raises(NotSent) as caught:
        Webhook(url).send(NOTICE)
    error: BaseException | None = caught.value
    assert TOKEN not in str(error)
    assert error.__cause__ is None
    assert error.__suppress_context__


def test_a_server_that_speaks_no_http(mail_server):
    with pytest.raises(NotSent) as caught:
        Webhook(f"http://127.0.0.1:{mail_server.port}/{TOKEN}").send(NOTICE)
    assert str(caught.value) == "BadStatusLine"


class TestDelivery:
    async def deliver(self, *channels: Any, rule: Rule = RULE, **change: Any) -> Delivery:
        delivery = Delivery(channels)
        await delivery.tell(rule, Notice(**{**vars(NOTICE), **change}))
        return delivery

    async def test_all_are_told(self, hook, mail_server, caplog):
        caplog.set_level(logging.INFO)
        await self.deliver(
            Webhook(hook.url), Slack(hook.url), Mail(["a@b"], Settings(mail_server.settings))
        )
        assert len(hook.posts) == 2
        assert len(mail_server.mails) == 1
        [record] = [r for r in caplog.records if r.name.startswith("crawlo_scrapy")]
        assert record.levelname == "WARNING"
        assert record.getMessage() == f"Alert: {NOTICE.title}"

    @pytest.mark.parametrize(("to", "posts"), [({"log"}, 0), ({"slack"}, 1), ({"webhook"}, 1)])
    async def test_those_of_the_rule(self, hook, to, posts, caplog):
        rule = Rule("error_rate", {}, 0, frozenset(to))
        await self.deliver(Webhook(hook.url), Slack(hook.url), rule=rule)
        assert len(hook.posts) == posts
        assert bool(caplog.records) == ("log" in to)

    async def test_tries_again(self, hook, caplog):
        hook.answers = [503, 500, 429]
        await self.deliver(Webhook(hook.url))
        assert len(hook.posts) == 1
        assert len(caplog.records) == 1  # the alert

    async def test_there_is_an_end_to_it_and_it_is_said_once(self, hook, caplog):
        caplog.set_level(logging.INFO)
        hook.answers = [503] * 8
        delivery = await self.deliver(Webhook(hook.url))
        assert hook.requests == 4
        await delivery.tell(RULE, NOTICE)
        assert hook.requests == 8
        await delivery.tell(RULE, NOTICE)
        assert len(hook.posts) == 1
        said = [r.getMessage() for r in caplog.records if "Alert:" not in r.getMessage()]
        assert said == [
            "Alerts do not reach the webhook at http://127.0.0.1: HTTP 503 Service Unavailable. "
            "Until they do this is not said again.",
            "Alerts reach the webhook at http://127.0.0.1 again",
        ]
        assert TOKEN not in caplog.text

    async def test_what_will_never_do_is_not_tried_again(self, hook):
        hook.answers = [404]
        await self.deliver(Webhook(hook.url))
        assert hook.requests == 1

    async def test_a_server_that_says_nothing(self, hook, monkeypatch, caplog):
        monkeypatch.setattr(delivery_module, "LIMIT", 0.05)

        class Slow(Webhook):
            def send(self, notice: Notice) -> None:
                raise NotSent("not yet")

        monkeypatch.setattr(delivery_module, "PAUSES", (30.0,))
        await self.deliver(Slow(hook.url))
        assert "no answer" in caplog.text


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a/x", "hooks.slack.com/x", "http:///x", "http://a b/x", "http://u:p@a/x",
        "http://a/\n", "http://a:b/", "http://ä/", "",
    ],
)  # fmt: skip
@pytest.mark.parametrize("setting", ["CRAWLO_ALERT_WEBHOOK_URLS", "CRAWLO_ALERT_SLACK_URLS"])
def test_what_is_no_url(setting, url):
    with pytest.raises(SettingError, match=f"{setting}: entry 2 is no URL") as caught:
        channels_of(Settings({setting: ["https://a.test/x", url]}))
    assert not url or url not in str(caught.value)


def test_what_is_no_address():
    with pytest.raises(SettingError, match="CRAWLO_ALERT_MAIL_TO: 'ops' is no address"):
        channels_of(Settings({"CRAWLO_ALERT_MAIL_TO": "a@b,ops"}))


def test_certificates_are_checked(monkeypatch):
    made = []
    original = ssl.create_default_context
    monkeypatch.setattr(
        channels_module.ssl, "create_default_context", lambda: made.append(1) or original()
    )
    with MailServer() as server, pytest.raises(NotSent):
        Mail(["a@b"], Settings({**server.settings, "MAIL_SSL": True})).send(NOTICE)
    assert made
    assert original().verify_mode == ssl.CERT_REQUIRED
