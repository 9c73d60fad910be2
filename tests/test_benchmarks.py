"""The benchmarks run: a small one, end to end."""

import json
import subprocess
import sys
from pathlib import Path

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
