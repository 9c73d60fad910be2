"""Which of Scrapy's commands is running: its tools look at a site and never join a crawl."""

from __future__ import annotations

import os
import sys
import threading
from importlib import import_module
from types import FrameType
from typing import Any

from scrapy import cmdline

#: Commands of Scrapy that crawl without being the project's crawl.
TOOLS = ("bench", "check", "fetch", "parse", "shell", "view")


def running_tool() -> Any:
    """Return the tool that Scrapy's command line is running, or None.

    Neither ``sys.argv`` nor the settings tell: `scrapy.cmdline.execute` takes arguments of its
    own, and hands no command on. Its frame is on the main thread's stack as long as the command
    runs, and holds the command. A project's own command (``crawlall``) is not a tool.
    """
    command = _command()
    if command is not None and isinstance(command, _classes()):
        return command
    # `scrapy check` says so, whoever runs it.
    return True if os.environ.get("SCRAPY_CHECK") == "true" else None


def _command() -> Any:
    frame: FrameType | None = sys._getframe()
    if threading.current_thread() is not threading.main_thread():
        frame = sys._current_frames().get(threading.main_thread().ident or 0)
    while frame is not None:
        if frame.f_code is cmdline.execute.__code__:
            return frame.f_locals.get("cmd")
        frame = frame.f_back
    return None


def _classes() -> tuple[type, ...]:
    return tuple(import_module(f"scrapy.commands.{name}").Command for name in TOOLS)
