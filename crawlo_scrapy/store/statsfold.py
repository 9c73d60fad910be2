"""Keeps a run that lasts for months, and whose workers are often restarted, quick to add up."""

from __future__ import annotations

from crawlo_scrapy.store import scripts
from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.lenient import text, whole
from crawlo_scrapy.store.scripts import Call
from crawlo_scrapy.store.stats import Codec, Stats
from crawlo_scrapy.store.statsmerge import NEWEST, STAMP, combine

#: The node under which the counts of those stand that are long gone.
EARLIER = "(earlier)"
#: How many nodes that write no more keep their own counts. Twice as many are let be.
KEPT = 100
#: A node that has not left is given up after this silence, in seconds. If it comes back after all,
#: what it counts from then on is not shared.
GIVEN_UP = 3600.0
#: How many nodes are folded at once.
AT_ONCE = 500


async def fold(client: Client, keys: Keys, codec: Codec, run: int) -> int:
    """Put what nodes have counted that write no more under one name, `EARLIER`.

    Sums stay what they are. Does nothing until there are more than twice `KEPT` of them, and
    leaves the latest `KEPT`. Returns how many were folded. Raises `StoreError`.
    """
    members = await client.call("zrange", keys.stats_nodes(run), 0, -1, withscores=True)
    seconds, _ = await client.call("time", near=keys.meta)
    # The score of a node that has left is below zero.
    silent = (int(seconds) - GIVEN_UP) * 1000
    scores = {text(member): whole(score) for member, score in members}
    gone = [n for n, score in scores.items() if score < silent and n != EARLIER]
    if len(gone) <= 2 * KEPT:
        return 0
    gone.sort(key=lambda name: abs(scores[name]))
    gone = gone[:-KEPT][:AT_ONCE]
    found = await Stats(client, keys, codec).nodes(run)
    taken = [found[name].stats for name in (EARLIER, *gone) if name in found]
    args: list[str | bytes | int] = [EARLIER, str(scores.get(EARLIER, "")), len(gone)]
    for name in gone:
        args += (name, scores[name])
    args += ("", b"0" * STAMP)
    for key, stat in combine(taken).items():
        time = b"%0*d" % (STAMP, stat.time) if stat.kind == NEWEST else b""
        args += (
            key.encode("utf-8", "backslashreplace"),
            stat.kind + time + codec.encode(stat.value),
        )
    names = [
        keys.stats_nodes(run), keys.stats_folded(run), keys.stats(run, EARLIER), keys.stats(run),
        keys.stats_node_series(run),
    ]  # fmt: skip
    [done] = await scripts.run(client, Call("stats_fold", names, args))
    return len(gone) * int(done)
