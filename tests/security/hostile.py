"""What nobody but a stranger would put into Redis, or give to a script."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from crawlo_scrapy.store.scripts import Call

VALUES: list[Any] = [
    "", "x", "-1", "0", "1", "1.5", "1e400", "-1e400", "nan", "inf", "0x10", "9" * 40, "\n", "a\nb",
    "1\n", b"\xff\x00", "a:5", "{x}", "x" * 10_000, "%s", b"\x00" * 3, "2", "99999999", "true",
]  # fmt: skip
#: One of each type, none of which is what a script expects.
TYPES: list[tuple[Any, ...]] = [
    ("SET", "junk"), ("RPUSH", "junk"), ("SADD", "junk"), ("ZADD", 1, "junk"), ("HSET", "junk", 1),
    ("XADD", "*", "junk", 1),
]  # fmt: skip
JUNK: list[Any] = [
    b"", b"junk", b"\n", b"a\nb", b"a\n1\n", b"a\nx\n\x00<TOKEN-9001>", b"a:5\n0\n\x00<TOKEN-9002>",
    b"x<TOKEN-9003>", b"a\n1e9\n\x00<TOKEN-9004>", b"{}\na\n0\n\x00<TOKEN-9005>", b"\xff\x00",
    b"x" * 10_000, b"{\n", b"\n\n\n\n", b"a\n0\n\xff<TOKEN-9006>", b"9" * 400, b"nan", b"-5",
    b"[]\n\n0\n\x00<TOKEN-9007>", b"a b\n0\n\x00<TOKEN-9008>", b"1.2\na\n7\n\x00<TOKEN-9009>",
]  # fmt: skip


@st.composite
def changed(draw: st.DrawFn, args: list[Any]) -> list[Any]:
    """Arguments that are not what they should be: others, fewer, more."""
    args = list(args)
    for place in draw(st.lists(st.integers(0, max(0, len(args) - 1)), max_size=3)):
        if args:
            args[place] = draw(st.sampled_from(VALUES))
    keep = draw(st.sampled_from([len(args), len(args), *range(len(args))]))
    return args[:keep] + draw(st.lists(st.sampled_from(VALUES), max_size=2))


@st.composite
def retyped(draw: st.DrawFn, call: Call) -> list[tuple[Any, ...]]:
    """Commands that put a key of another type where the script looks."""
    keys = [key if isinstance(key, str) else key.decode(errors="replace") for key in call.keys]
    key = draw(st.sampled_from([key for key in keys if not key.endswith(":")] or ["none"]))
    command = draw(st.sampled_from(TYPES))
    return [("DEL", key), (command[0], key, *command[1:])]


@st.composite
def spoiled(draw: st.DrawFn, kinds: dict[bytes, bytes]) -> list[tuple[Any, ...]]:
    """Commands that put junk among what stands in a key."""
    names = sorted(n for n, kind in kinds.items() if kind in (b"hash", b"list", b"zset", b"set"))
    name, junk = draw(st.sampled_from(names)), draw(st.sampled_from(JUNK))
    if kinds[name] == b"list":
        return [(draw(st.sampled_from(["LPUSH", "RPUSH"])), name, junk)]
    if kinds[name] == b"set":
        return [("SADD", name, junk)]
    if kinds[name] == b"zset":
        score = draw(st.sampled_from(["1", "0", "-1", "inf", "-inf", "1e300", "5e12"]))
        return [("ZADD", name, score, junk)]
    field = draw(
        st.sampled_from([b"\xff\n", b"", b"state", b"queued", b"pushed", b"started", b"12345"])
    )
    return [("HSET", name, field, draw(st.sampled_from(JUNK)))]
