"""A real Prometheus scrapes a crawl of several workers, and the exporter."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.fleet import Fleet
from tests.chaos.site import ChaosSite
from tests.prometheus import Prometheus, promtool
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
RULES = ROOT / "docs" / "prometheus" / "crawlo.rules.yml"
DASHBOARD = json.loads((ROOT / "docs" / "grafana" / "crawlo.json").read_text("utf-8"))
SPIDER = Path(__file__).with_name("spider.py")
WORKERS = 3
#: For machines that others use too, in seconds.
PATIENCE = 120.0
SERVED = re.compile(r"Metrics of this worker are at (http://127\.0\.0\.1:(\d+)/metrics)")


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def expressions() -> list[str]:
    """All that the dashboard asks for, with its variables filled in."""
    found = [target["expr"] for panel in panels() for target in panel["targets"]]
    filled = [
        expr.replace("$crawl", ".*").replace("$node", ".*").replace("$__rate_interval", "20s")
        for expr in found
    ]
    assert not [expr for expr in filled if "$" in expr]
    return filled


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as response:
        return str(response.read().decode())


@contextmanager
def exporter(folder: Path, *words: str) -> Iterator[str]:
    """The command as users start it; gives its address."""
    code = "from crawlo_scrapy.cli import main; main()"
    log = folder / "exporter.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", code, "exporter", "--port", "0", *words],
            cwd=folder, stderr=output,
        )  # fmt: skip
    try:
        wait_until(lambda: "/metrics\n" in log.read_text(), "the exporter serves", PATIENCE)
        yield log.read_text().split()[-1]
        process.terminate()
        assert process.wait(PATIENCE) == 0
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def served(fleet: Fleet) -> list[tuple[str, str]]:
    """Address and port of each worker's metrics."""
    return [match for log in fleet.logs for match in SERVED.findall(log.read_text())]


@pytest.mark.slow
def test_every_expression_has_data(tmp_path: Path, redis_url: str) -> None:
    settings = {"PROMETHEUS_METRICS_PORT": 0, "CRAWLO_DEAD_LETTER_FAILED": True}
    with (
        ChaosSite(pages=100_000, delay=0.3) as site,
        Fleet(tmp_path, redis_url, "-a", f"url={site.url}", spider=SPIDER, **settings) as fleet,
    ):
        fleet.start(WORKERS)
        wait_until(lambda: len(served(fleet)) == WORKERS, "all serve", PATIENCE)
        crawl = f"{fleet.project}:measured:run"
        with exporter(tmp_path, crawl, "--redis-url", redis_url) as url:
            jobs = {
                "crawlo-crawls": [int(url.split(":")[2].split("/")[0])],
                "crawlo-workers": [int(port) for _, port in served(fleet)],
            }
            with Prometheus(jobs, [RULES]) as prometheus:
                for expr in expressions():
                    wait_until(lambda expr=expr: prometheus.value(expr), expr, PATIENCE)
                rules = [r for g in prometheus.ask("rules")["groups"] for r in g["rules"]]
                assert len(rules) > 10
                assert [rule for rule in rules if rule["health"] == "err"] == []
                assert sum(float(t["value"][1]) for t in prometheus.value("up")) == WORKERS + 1
                for query in variables():
                    assert prometheus.value(query), query
            for text in (get(url), *(get(address) for address, _ in served(fleet))):
                promtool("check", "metrics", text=text)
                assert f'crawl="{crawl}"' in text
                assert redis_url not in text
    assert 'crawlo_worker_stat{crawl="' in text
    assert 'key="shop/pages seen"' in text


def variables() -> list[str]:
    """What the choices of the dashboard are made of."""
    queries = [v["definition"] for v in DASHBOARD["templating"]["list"] if v["type"] == "query"]
    assert len(queries) == 2
    found = []
    for query in queries:
        match = re.fullmatch(r"label_values\((.*), (\w+)\)", query)
        assert match
        found.append(f"count by ({match[2]}) ({match[1].replace('$crawl', '.*')})")
    return found


@pytest.mark.slow
def test_the_exporter_counts_what_the_site_does(tmp_path: Path, redis_url: str) -> None:
    with (
        ChaosSite(pages=300, delay=0.05) as site,
        Fleet(tmp_path, redis_url, "-a", f"url={site.url}") as fleet,
    ):
        fleet.start(WORKERS)
        assert fleet.wait(PATIENCE) == [0] * WORKERS
        crawl = f"{fleet.project}:chaos:run"
        with exporter(tmp_path, crawl, "--redis-url", redis_url) as url:
            text = get(url)
        labels = f'{{crawl="{crawl}"}}'
        assert f"crawlo_crawl_pages_total{labels} {site.answered:.1f}\n" in text
        assert f"crawlo_crawl_items_total{labels} 300.0\n" in text
        assert f"crawlo_crawl_queued_requests{labels} 0.0\n" in text
        assert f'crawlo_crawl_state{{crawl="{crawl}",state="finished"}} 1.0\n' in text
        assert "crawlo_redis_up 1.0\n" in text


def test_the_rules_and_the_example_are_valid() -> None:
    promtool("check", "rules", RULES)
    promtool("check", "config", RULES.with_name("prometheus.yml"))


def test_the_rules_fire() -> None:
    promtool("test", "rules", Path(__file__).with_name("rules_test.yml"))


def test_the_dashboard_is_whole() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    places = set()
    for panel in DASHBOARD["panels"]:
        grid = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(grid["x"], grid["x"] + grid["w"])
            for y in range(grid["y"], grid["y"] + grid["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & places
        places |= cells
    for panel in panels():
        assert panel["title"]
        sources = [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
        assert {source["uid"] for source in sources} == {"${datasource}"}


def test_rules_and_dashboard_name_metrics_that_there_are() -> None:
    from crawlo_scrapy.metrics.table import CRAWL_METRICS, WORKER_METRICS

    known = {metric.shown_name for metric in (*CRAWL_METRICS, *WORKER_METRICS)}
    texts = [*expressions(), RULES.read_text("utf-8")]
    used = {name for text in texts for name in re.findall(r"\bcrawlo_(?:crawl|worker)_\w+", text)}
    used = {name for name in used if not re.search(rf":{name}:", " ".join(texts))}
    assert used - known == set()
