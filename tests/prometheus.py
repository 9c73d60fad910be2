"""A Prometheus of the system, in a temporary folder and on a free port."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crawlo_scrapy.serverprocess import HOST, ServerProcess, free_port
from tests.waiting import missing, wait_until

if TYPE_CHECKING:
    from typing_extensions import Self


def program(name: str) -> str:
    """Return the path of ``prometheus`` or ``promtool``; without it the test is skipped."""
    return shutil.which(name) or missing("Prometheus", "apt install prometheus")


def promtool(*words: str | Path, text: str | None = None) -> str:
    """Run promtool; it must be content. Returns what it printed."""
    done = subprocess.run(
        [program("promtool"), *map(str, words)], input=text, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


class Prometheus:
    """Scrapes every second: *jobs* are names and ports. Reads the files of *rules*."""

    def __init__(self, jobs: dict[str, list[int]], rules: list[Path]) -> None:
        self._jobs = jobs
        self._rules = rules

    def __enter__(self) -> Self:
        binary = program("prometheus")
        self.folder = Path(tempfile.mkdtemp(prefix="crawlo-prometheus-"))
        self.port = free_port()
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(path) for path in self._rules],
            "scrape_configs": [
                {
                    "job_name": name,
                    "static_configs": [{"targets": [f"{HOST}:{port}" for port in ports]}],
                }
                for name, ports in self._jobs.items()
            ],
        }
        path = self.folder / "prometheus.yml"
        path.write_text(json.dumps(config))  # JSON is YAML
        self._process = ServerProcess(
            [
                binary, f"--config.file={path}", f"--storage.tsdb.path={self.folder / 'data'}",
                f"--web.listen-address={HOST}:{self.port}",
            ],
            self.folder / "prometheus.log",
            self.folder,
        )  # fmt: skip
        wait_until(self._ready, "Prometheus is ready")
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._process.terminate()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _ready(self) -> bool:
        assert self._process.alive, self._process.log_tail(20)
        with urllib.request.urlopen(f"http://{HOST}:{self.port}/-/ready", timeout=5):
            return True

    def ask(self, path: str, **query: str) -> Any:
        """Return the data of an answer of the API."""
        url = f"http://{HOST}:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as exc:
            raise AssertionError(f"{query}: {exc.read().decode()}") from None

    def value(self, expression: str) -> list[Any]:
        """Return what *expression* is now: a list of metrics with their values."""
        found: list[Any] = self.ask("query", query=expression)["result"]
        return found
