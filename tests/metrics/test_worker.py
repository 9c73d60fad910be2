"""What a worker shows, and how it gets there."""

from __future__ import annotations

import asyncio
import socket
import sys
import threading
import urllib.request
from collections.abc import Iterator
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from scrapy import Request, Spider

from crawlo_scrapy.extensions.metrics import MetricsExtension
from crawlo_scrapy.metrics import worker
from crawlo_scrapy.metrics.labels import labels_of
from crawlo_scrapy.metrics.serving import MetricsServer, Pushgateway
from crawlo_scrapy.metrics.table import OTHERWISE_TOLD, WORKER_METRICS
from crawlo_scrapy.metrics.worker import worker_registry
from crawlo_scrapy.serverprocess import HOST, free_port
from crawlo_scrapy.settings import SettingError
from tests.crawling import crawl, crawl_settings, make_crawler, run, start, until

EXTENSION = "crawlo_scrapy.extensions.metrics.MetricsExtension"
LABELS = {"crawl": "p:s", "node": "n"}


def shown(stats: dict[str, Any], labels: dict[str, str] = LABELS) -> dict[str, float]:
    """Metrics as Prometheus reads them, without the labels that all have."""
    text = generate_latest(worker_registry(lambda: stats, labels)).decode()
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            own = {name: v for name, v in sample.labels.items() if name not in labels}
            assert labels.items() <= sample.labels.items()
            parts = ",".join(f"{name}={value}" for name, value in own.items())
            found[f"{sample.name}{{{parts}}}" if parts else sample.name] = sample.value
    return found


def test_names_and_labels():
    found = shown(
        {
            "response_received_count": 7,
            "downloader/response_status_count/200": 5,
            "downloader/response_status_count/404": 2,
            "downloader/response_count": 7,
            "log_count/ERROR": 3,
            "retry/reason_count/503 Service Unavailable": 4,
            "retry/count": 4,
            "items/mysql/stored": 6,
            "items/mysql/batches": 2,
            "crawlo/dead_letters/failed": 1,
            "crawlo/health/state": "degraded",
            "crawlo/memory": 1000,
            "start_time": datetime(2026, 1, 1, tzinfo=timezone.utc),
            "finish_reason": "finished",
        }
    )
    assert found["crawlo_worker_pages_total"] == 7
    assert found["crawlo_worker_responses_total{status=200}"] == 5
    assert found["crawlo_worker_responses_total{status=404}"] == 2
    assert found["crawlo_worker_log_lines_total{level=ERROR}"] == 3
    assert found["crawlo_worker_retries_total{reason=503 Service Unavailable}"] == 4
    assert found["crawlo_worker_stored_items_total{storage=mysql}"] == 6
    assert found["crawlo_worker_storage_writes_total{storage=mysql}"] == 2
    assert found["crawlo_worker_dead_letters_total{reason=failed}"] == 1
    assert found["crawlo_worker_healthy"] == 0
    assert found["crawlo_worker_memory_bytes"] == 1000
    assert found["crawlo_worker_start_time_seconds"] == 1767225600
    assert not [name for name in found if "key=" in name]


def test_what_was_not_counted_yet_is_zero():
    found = shown({})
    plain = [m.shown_name for m in WORKER_METRICS if m.kind == "counter" and not m.labels]
    assert len(plain) > 10
    assert {found[name] for name in plain} == {0}
    assert "crawlo_worker_healthy" not in found


def test_other_stats(monkeypatch):
    stats = {
        "shop/products": 3, "shop/share": 0.5, "shop/yes": True, "shop/text": "five", 5: 6,
        "shop/nested": {"a": 1}, "shop/huge": 10**400, "shop/early": datetime.min,
    }  # fmt: skip
    found = {name: v for name, v in shown(stats).items() if "_stat{" in name}
    assert found == {
        "crawlo_worker_stat{key=shop/products}": 3,
        "crawlo_worker_stat{key=shop/share}": 0.5,
        "crawlo_worker_stat{key=shop/yes}": 1,
        "crawlo_worker_stat{key=5}": 6,
    }
    monkeypatch.setattr(worker, "MOST_OTHERS", 10)
    many = {f"url/{n}": n for n in range(1000)}
    assert len([name for name in shown(many) if "_stat{" in name]) == 10


def test_each_stat_has_one_metric():
    examples = [m.stat.replace("{", "x").replace("}", "") for m in WORKER_METRICS[:-2]]
    for stat in examples:
        matching = [m.name for m in WORKER_METRICS[:-2] if m.pattern().fullmatch(stat)]
        assert len(matching) == 1, stat
    # What is left out must not be what another metric shows.
    shown_by = {m.stat for m in WORKER_METRICS if not m.labels}
    assert not OTHERWISE_TOLD & shown_by


def test_the_process_is_there_too():
    found = shown({})
    if sys.platform == "linux":
        assert found["process_resident_memory_bytes"] > 1_000_000


def test_labels_of_ones_own():
    labels = {**LABELS, **labels_of({"region": "eu", "rack": 7})}
    assert labels["rack"] == "7"
    assert shown({"response_received_count": 1}, labels)["crawlo_worker_pages_total"] == 1


@pytest.mark.parametrize("name", ["a-b", "1a", "__a", "", "crawl", "node", "status", "key", "le"])
def test_labels_that_cannot_be(name):
    with pytest.raises(SettingError, match=f"PROMETHEUS_LABELS: '{name}' is"):
        labels_of({name: "x"})


def test_stats_change_while_they_are_read():
    stats = {f"shop/{n}": n for n in range(2000)}
    stop = threading.Event()

    def count() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            stats[f"other/{number % 5000}"] = number
            stats.pop(f"other/{(number - 2500) % 5000}", None)

    thread = threading.Thread(target=count)
    thread.start()
    registry = worker_registry(lambda: stats, LABELS)
    try:
        for _ in range(20):
            generate_latest(registry)
    finally:
        stop.set()
        thread.join()


class TestServer:
    def test_the_next_port_that_is_free(self):
        registry = worker_registry(dict, LABELS)
        port = free_port()
        servers = [MetricsServer(registry, HOST, port) for _ in range(3)]
        try:
            ports = [server.port for server in servers]
            assert ports[0] == port
            assert len(set(ports)) == 3
            assert all(port <= p < port + 100 for p in ports)
            for server in servers:
                with urllib.request.urlopen(server.url, timeout=30) as response:
                    assert b"crawlo_worker_pages_total" in response.read()
        finally:
            for server in servers:
                server.close()
        with socket.socket() as probe:
            assert probe.connect_ex((HOST, ports[0])) != 0

    def test_none_is_free(self):
        registry = worker_registry(dict, LABELS)
        server = MetricsServer(registry, HOST, 0)
        try:
            with pytest.raises(OSError, match="in use"):
                MetricsServer(registry, HOST, server.port, tried=1)
        finally:
            server.close()

    @pytest.mark.parametrize(
        ("host", "local"), [("127.0.0.1", True), ("localhost", True), ("0.0.0.0", False)]
    )
    def test_who_can_reach_it(self, host, local):
        server = MetricsServer(worker_registry(dict, LABELS), host, 0)
        assert server.local is local
        server.close()


class Gateway:
    """Takes what is pushed, by the path that it is pushed to."""

    def __init__(self) -> None:
        self.pushed: dict[str, str] = {}
        self.pushes = 0
        self.logins: list[str | None] = []
        self.answer = 200
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                gateway.pushes += 1
                gateway.logins.append(self.headers["Authorization"])
                if gateway.answer == 200:
                    gateway.pushed[self.path] = body.decode()
                self.send_response(gateway.answer)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                return

        self._server = ThreadingHTTPServer((HOST, 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=[0.02], daemon=True).start()
        self.port = self._server.server_address[1]
        self.url = f"http://{HOST}:{self.port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    gateway = Gateway()
    yield gateway
    gateway.close()


class TestPushgateway:
    def make(self, url: str) -> Pushgateway:
        registry = worker_registry(lambda: {"response_received_count": 7}, LABELS)
        return Pushgateway(url, registry, LABELS)

    def test_a_push(self, gateway):
        self.make(f"{gateway.url}/prefix/").push()
        [(path, text)] = gateway.pushed.items()
        assert path == "/prefix/metrics/job/crawlo/crawl/p%3As/node/n"
        assert 'crawlo_worker_pages_total{crawl="p:s",node="n"} 7.0' in text
        assert gateway.logins == [None]

    def test_a_login(self, gateway):
        pushes = self.make(f"http://me:p%40ss@{HOST}:{gateway.port}")
        pushes.push()
        assert gateway.logins == ["Basic bWU6cEBzcw=="]
        assert pushes.shown == gateway.url

    def test_one_that_is_away(self, gateway):
        gateway.answer = 500
        with pytest.raises(OSError, match="500"):
            self.make(gateway.url).push()

    @pytest.mark.parametrize("url", ["host:9091", "ftp://a", "http://", "http://a b", "http://a:b"])
    def test_what_is_no_url(self, url):
        with pytest.raises(SettingError, match="PROMETHEUS_PUSHGATEWAY_URL is not a URL") as caught:
            self.make(url)
        assert url not in str(caught.value).partition("must look")[0]


class Pages(Spider):
    name = "pages"

    async def start(self):
        for path in self.paths:
            yield Request(self.site + path)

    def parse(self, response):
        pass


@pytest.fixture
def settings(redis_url, project):
    return {
        **crawl_settings(redis_url, project),
        "EXTENSIONS": {EXTENSION: 0},
        "CRAWLO_NODE_ID": "n1",
    }


class TestExtension:
    async def served(self, crawler: Any) -> str:
        [extension] = [e for e in crawler.extensions.middlewares if isinstance(e, MetricsExtension)]
        await until(lambda: extension._server, "it serves")
        return str(extension._server.url)

    async def test_serves_while_it_crawls(self, settings, site, project):
        settings |= {"PROMETHEUS_METRICS_PORT": 0, "PROMETHEUS_LABELS": {"region": "eu"}}
        crawler = make_crawler(Pages, settings)
        crawling = start(run(crawler, site=site.url, paths=["/ok/1", "/ok/2", "/gate/1"]))
        await until(lambda: site.hits["/gate/1"], "the crawl runs")
        url = await self.served(crawler)

        def read() -> str:
            with urllib.request.urlopen(url, timeout=30) as response:
                return str(response.read().decode())

        name = f'crawl="{project}:pages",node="n1",region="eu"'
        text = await asyncio.to_thread(read)
        assert f"crawlo_worker_pages_total{{{name}}} " in text
        assert "crawlo_worker_info{" in text
        site.open_gate()
        assert await crawling == "finished"
        with pytest.raises(OSError, match="refused"):
            await asyncio.to_thread(read)

    async def test_pushes_and_the_last_push_has_it_all(self, settings, site, gateway, caplog):
        settings |= {"PROMETHEUS_PUSHGATEWAY_URL": gateway.url, "PROMETHEUS_PUSH_INTERVAL": 0.1}
        crawling = start(run(make_crawler(Pages, settings), site=site.url, paths=["/gate/1"]))
        await until(lambda: gateway.pushes > 2, "pushes")
        gateway.answer = 500
        await until(lambda: "Metrics cannot be pushed" in caplog.text, "it says so")
        pushes = gateway.pushes
        await until(lambda: gateway.pushes > pushes + 1, "it goes on")
        gateway.answer = 200
        site.open_gate()
        assert await crawling == "finished"
        [text] = gateway.pushed.values()
        assert 'crawlo_worker_pages_total{crawl="' in text
        assert 'node="n1"} 1.0' in text
        assert caplog.text.count("Metrics cannot be pushed") == 1

    @pytest.mark.parametrize(
        "more",
        [
            {"PROMETHEUS_PUSHGATEWAY_URL": "s3cret"},
            {"PROMETHEUS_METRICS_PORT": 0, "PROMETHEUS_LABELS": {"crawl": 1}},
        ],
    )
    async def test_a_mistake_closes_the_spider_with_one_line(self, settings, site, caplog, more):
        crawler = await crawl(Pages, settings | more, site=site.url, paths=["/ok/1"])
        assert crawler.stats.get_value("finish_reason") == "invalid_setting"
        assert crawler.spider is None
        [record] = [r for r in caplog.records if r.levelname == "ERROR"]
        assert record.getMessage().startswith("PROMETHEUS_")
        assert "s3cret" not in caplog.text

    async def test_without_the_library(self, settings, site, caplog, monkeypatch):
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        settings |= {"PROMETHEUS_METRICS_PORT": 0}
        crawler = await crawl(Pages, settings, site=site.url, paths=["/ok/1"])
        assert crawler.stats.get_value("finish_reason") == "invalid_setting"
        assert "pip install 'crawlo_scrapy[prometheus]'" in caplog.text

    async def test_an_address_that_is_not_ours(self, settings, site, caplog):
        settings |= {"PROMETHEUS_METRICS_PORT": 0, "PROMETHEUS_METRICS_HOST": "192.0.2.1"}
        crawler = await crawl(Pages, settings, site=site.url, paths=["/ok/1"])
        assert crawler.stats.get_value("finish_reason") == "finished"
        assert "No metrics are served: cannot listen on 192.0.2.1, port 0" in caplog.text

    async def test_off_by_default(self, settings, site):
        crawler = await crawl(Pages, settings, site=site.url, paths=["/ok/1"])
        assert not [e for e in crawler.extensions.middlewares if isinstance(e, MetricsExtension)]

    async def test_as_crawlo_turns_it_on(self, settings, site, caplog):
        caplog.set_level("INFO")
        settings |= {"STATS_BACKEND": "prometheus"}
        await crawl(Pages, settings, site=site.url, paths=["/ok/1"])
        assert "Metrics of this worker are at http://127.0.0.1:91" in caplog.text
