"""The benchmarks run: a small one, end to end."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run_benchmark(name: str, *arguments: str) -> str:
    command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
    done = subprocess.run(command, cwd=ROOT, check=True, timeout=120, capture_output=True)
    return done.stdout.decode()


def test_crawl_with_the_memory_scheduler(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    table = run_benchmark(
        "crawl", "--pages", "50", "--repeat", "1", "--variants", "memory", "--json", str(result)
    )
    [line] = json.loads(result.read_text())["summary"]
    assert line["variant"] == "memory"
    assert line["pages_per_s"] > 0
    assert "| memory | – |" in table


def test_stats() -> None:
    table = run_benchmark(
        "stats", "--pages", "20", "--repeat", "1",
        "--collectors", "MemoryStatsCollector", "crawlo_scrapy",
    )  # fmt: skip
    assert "| crawlo_scrapy | loopback |" in table


def test_dashboard_with_few_nodes(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    sizes = ["--nodes", "2", "--hours", "0.2", "--repeat", "1", "--rest", "0", "--viewers", "1"]
    table = run_benchmark("dashboard", *sizes, "--seconds", "0.1", "--json", str(result))
    found = json.loads(result.read_text())
    assert len(found["ms"]["one crawl"]) == 1
    assert set(found["shares"]) == {"nobody", "1"}
    assert "| one crawl |" in table


def test_scale_of_two_workers(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    sizes = ["--workers", "2", "--rate", "50", "--known", "4036", "--queued", "2000"]
    times = ["--seconds", "0.5", "--windows", "2", "--warm-up", "0.1", "--partitions", "2"]
    table = run_benchmark("scale", *sizes, *times, "--json", str(result))
    found = json.loads(result.read_text())
    assert found["pages_per_core_s"] > 0
    assert len(found["pages_per_core_s_of_all"]) == 2
    assert 1 <= found["pushed_a_page"] <= found["plan"]["links"]
    assert "| 1 | 2 |" in table


@pytest.mark.slow
def test_big_queue_that_is_small(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    sizes = ["--sizes", "100", "300", "--sample", "100"]
    table = run_benchmark("bigqueue", *sizes, "--json", str(result))
    found = json.loads(result.read_text())
    assert [row["queued"] for row in found[0]["sizes"]] == [100, 300]
    assert all(case["purge"]["keys"] > 0 for case in found)
    assert "| 1,000 slots with limits | 300 |" in table
