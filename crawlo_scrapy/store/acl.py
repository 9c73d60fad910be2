"""The least rights that workers, and those who only look on, need in Redis."""

from __future__ import annotations

from typing import Any

import redis.exceptions as rex

from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.errors import CLIENT_ERRORS

#: The keys of all crawls.
PATTERN = "crawlo:*"
_KEY = "crawlo:{doctor}:"

#: What changes nothing, for people and dashboards: each command, and how many arguments it needs
#: at least. Scripts run with the rights of who sends them.
READ = {
    "asking": 0, "command": 0, "dbsize": 0, "discard": 0, "eval": 2, "evalsha": 2, "exec": 0,
    "exists": 1, "get": 1, "getrange": 3, "scard": 1,
    "hget": 2, "hgetall": 1, "hkeys": 1, "hlen": 1, "hmget": 2, "hscan": 2, "info": 0, "llen": 1,
    "lrange": 3, "multi": 0, "ping": 0, "scan": 1, "select": 1, "sismember": 2, "smembers": 1,
    "lindex": 2, "sscan": 2, "time": 0, "type": 1,
    "xlen": 1, "xpending": 2, "xrange": 3, "xread": 3, "xrevrange": 3, "zcard": 1, "zcount": 3,
    "zrange": 3, "zrangebyscore": 3, "zrevrange": 3, "zscore": 2, "client|setname": 1,
    "cluster|slots": 0, "script|load": 1, "xinfo|consumers": 2,
}  # fmt: skip

#: What workers, `items drain`, `purge` and `dead-letters` need besides.
WRITE = {
    "pexpireat": 2, "setbit": 3, "setrange": 3,
    "del": 1, "expire": 2, "hdel": 2, "hincrby": 3, "hset": 3, "lpop": 1, "lpush": 2, "ltrim": 3,
    "pexpire": 2, "rpush": 2, "sadd": 2, "set": 2, "spop": 1, "srem": 2, "unlink": 1, "xack": 3,
    "xadd": 4, "xautoclaim": 5, "xclaim": 5, "xdel": 2, "xreadgroup": 6, "xtrim": 3, "zadd": 3,
    "zincrby": 3, "zpopmax": 1, "zrem": 2, "zremrangebyscore": 3, "xgroup|create": 3,
    "xgroup|delconsumer": 3, "hsetnx": 3, "rename": 2,
}  # fmt: skip

#: These cannot be asked for between MULTI and DISCARD.
_END = {"multi", "exec", "discard"}


def worker_rule() -> str:
    """Return the ACL rule of workers, without a password."""
    return _rule(*READ, *WRITE)


def reader_rule() -> str:
    """Return the ACL rule of those who only look on, without a password."""
    return _rule(*READ)


def _rule(*commands: str) -> str:
    allowed = " ".join(f"+{command}" for command in commands)
    return f"resetkeys ~{PATTERN} resetchannels -@all {allowed}"


async def missing_rights(client: Client) -> list[str]:
    """Return the commands that a worker needs and the user of *client* may not run.

    ``~crawlo:*`` among them stands for the keys. Nothing is changed: Redis judges a command when
    it is queued for a transaction, and that is discarded. Not for a cluster's client. Raises
    `StoreError`.
    """
    refused = []
    try:
        async with client.redis.client() as single:
            connection = single.connection
            try:
                if await _is_refused(connection, "multi", 0):
                    return ["multi"]
                for command, count in {**READ, **WRITE}.items():
                    if command not in _END:
                        refused.append(await _is_refused(connection, command, count))
            finally:
                await connection.disconnect()
    except CLIENT_ERRORS as exc:
        raise await client.failure(exc) from exc
    return sorted({command for command in refused if command})


async def _is_refused(connection: Any, command: str, count: int) -> str:
    await connection.send_command(*command.split("|"), *[_KEY] * count)
    try:
        await connection.read_response()
    except rex.NoPermissionError as exc:
        return f"~{PATTERN}" if "key" in str(exc).partition("'")[0] else command
    except rex.ResponseError:
        return ""  # it may be run, and an argument is not what it should be
    return ""
