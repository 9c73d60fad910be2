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
from crawlo_scrapy.store.errors import translate

_INCLUDE = re.compile(r"^--#include (\w+)$", re.MULTILINE)


class Script:
    """A script and its hash."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.source = _INCLUDE.sub(lambda match: _read(match[1]), _read(name))
        self.sha = hashlib.sha1(self.source.encode()).hexdigest()


def _read(name: str) -> str:
    return (files("crawlo_scrapy.store") / "lua" / f"{name}.lua").read_text("utf-8")


@cache
def script(name: str) -> Script:
    """Return the script of that name, read once."""
    return Script(name)


class Call:
    """One script with its keys and arguments, ready to be sent."""

    def __init__(self, name: str, keys: Sequence[str], args: Sequence[Any] = ()) -> None:
        self.script = script(name)
        self.keys = keys
        self.args = args


async def run(client: Client, *calls: Call) -> list[Any]:
    """Run *calls* in their order, in one round trip, and return their results.

    A server that does not know a script (it was restarted, or another took over) is taught it,
    and all calls are sent again: every script here may be repeated. Raises `StoreError`.
    """
    try:
        results = await _send(client, calls)
        if any(isinstance(result, rex.NoScriptError) for result in results):
            await _teach(client)
            results = await _send(client, calls)
    except (rex.RedisError, OSError) as exc:
        raise translate(exc, client.address) from exc
    for result in results:
        if isinstance(result, Exception):
            raise translate(result, client.address) from result
    return results


async def teach(client: Client) -> None:
    """Teach the server all scripts, so that the first of each kind need not be sent twice."""
    try:
        await _teach(client)
    except (rex.RedisError, OSError) as exc:
        raise translate(exc, client.address) from exc


async def _teach(client: Client) -> None:
    folder = files("crawlo_scrapy.store") / "lua"
    names = [file.name.removesuffix(".lua") for file in folder.iterdir()]
    pipeline = client.redis.pipeline(transaction=False)
    for name in sorted(names):
        if not name.startswith("_"):
            pipeline.script_load(script(name).source)
    await pipeline.execute()


async def _send(client: Client, calls: Sequence[Call]) -> list[Any]:
    pipeline = client.redis.pipeline(transaction=False)
    for call in calls:
        pipeline.evalsha(call.script.sha, len(call.keys), *call.keys, *call.args)
    results: list[Any] = await pipeline.execute(raise_on_error=False)
    return results
