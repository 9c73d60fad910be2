"""Lua scripts: one operation a file, shared fragments in files that start with ``_``."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import redis.exceptions as rex

from crawlo_scrapy.store.client import Client

_INCLUDE = re.compile(r"^--#include (\w+)$", re.MULTILINE)


class Script:
    """A script and its hash."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.source = _read(name)
        self.sha = hashlib.sha1(self.source.encode()).hexdigest()


def _read(name: str) -> str:
    text = (files("crawlo_scrapy.store") / "lua" / f"{name}.lua").read_text("utf-8")
    return _INCLUDE.sub(lambda match: _read(match[1]), text)


@cache
def script(name: str) -> Script:
    """Return the script of that name, read once."""
    return Script(name)


class Call:
    """One script with its keys and arguments, ready to be sent."""

    def __init__(self, name: str, keys: Sequence[str | bytes], args: Sequence[Any] = ()) -> None:
        self.script = script(name)
        self.keys = keys
        self.args = args

    def command(self, name: str, script: str) -> tuple[Any, ...]:
        """Return EVALSHA with a script's hash, or EVAL with all of it, as words."""
        return (name, script, len(self.keys), *self.keys, *self.args)


async def run(client: Client, *calls: Call) -> list[Any]:
    """Run *calls* in their order, in one round trip, and return their results.

    Where a server does not know a script (it was restarted, or another took over), all calls are
    sent again with their scripts: every script here may be repeated. Raises `StoreError`.
    """
    results = await client.send([call.command("EVALSHA", call.script.sha) for call in calls])
    if any(isinstance(result, rex.NoScriptError) for result in results):
        results = await client.send([call.command("EVAL", call.script.source) for call in calls])
    for result in results:
        if isinstance(result, Exception):
            raise await client.failure(result) from result
    return results


async def teach(client: Client, near: str) -> None:
    """Teach the server of the key *near* all scripts, so that no call need be sent twice."""
    folder = files("crawlo_scrapy.store") / "lua"
    names = sorted(file.name.removesuffix(".lua") for file in folder.iterdir())
    commands = [("SCRIPT LOAD", script(name).source) for name in names if not name.startswith("_")]
    for result in await client.send(commands, near=near):
        if isinstance(result, Exception):
            raise await client.failure(result) from result
