"""Worker processes of one crawl, and what becomes of them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from uuid import uuid4

from typing_extensions import Self

ROOT = Path(__file__).parents[2]
SPIDER = Path(__file__).with_name("spider.py")


class Fleet:
    """Starts `scrapy runspider` processes in *folder*; kills what still lives at the end."""

    def __init__(
        self,
        folder: Path,
        redis_url: str,
        *arguments: str,
        spider: Path = SPIDER,
        crawl_id: str | None = None,
        **settings: object,
    ) -> None:
        self.folder = folder
        self.project = f"test-{uuid4().hex[:8]}"
        self.items_file = folder / "items.jsonl"
        self.workers: list[subprocess.Popen[bytes]] = []
        self.logs: list[Path] = []
        settings = {
            "REDIS_URL": redis_url,
            "BOT_NAME": self.project,
            "CRAWLO_CRAWL_ID": crawl_id or "run",
            "ITEMS_FILE": self.items_file,
        } | settings
        self._command = [sys.executable, "-m", "scrapy", "runspider", str(spider), *arguments]
        self.set(**settings)

    def set(self, **settings: object) -> None:
        """Give settings to workers that are started from now on."""
        for name, value in settings.items():
            self._command += ["-s", f"{name}={value}"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for worker in self.workers:
            if worker.poll() is None:
                worker.send_signal(signal.SIGCONT)
                worker.kill()
            worker.wait()

    def start(self, count: int = 1) -> None:
        for _ in range(count):
            log = self.folder / f"worker-{len(self.logs)}.log"
            with log.open("wb") as output:
                self.workers.append(
                    subprocess.Popen(
                        self._command,
                        stdout=output,
                        stderr=output,
                        cwd=self.folder,
                        env={**os.environ, "PYTHONPATH": str(ROOT)},
                    )
                )
            self.logs.append(log)

    @property
    def alive(self) -> list[subprocess.Popen[bytes]]:
        return [worker for worker in self.workers if worker.poll() is None]

    def wait(self, timeout: float) -> list[int]:
        """Return the exit statuses of all workers once all have ended."""
        return [worker.wait(timeout) for worker in self.workers]

    def reasons(self) -> Counter[str]:
        """Return how often each close reason stands in the logs."""
        found: Counter[str] = Counter()
        for log in self.logs:
            found.update(re.findall(r"Spider closed \((\w+)\)", log.read_text()))
        return found

    def items(self) -> Counter[str]:
        """Return how often each page has an item."""
        if not self.items_file.exists():
            return Counter()
        # A write that is under way may be seen in part: the last line counts once it is whole.
        whole = self.items_file.read_text().rpartition("\n")[0]
        return Counter(json.loads(line)["url"] for line in whole.splitlines())

    def errors(self) -> list[str]:
        """Return the lines of the logs that tell of an error."""
        return [
            line
            for log in self.logs
            for line in log.read_text().splitlines()
            if "ERROR" in line or "Traceback" in line
        ]
