"""The only place where a Redis key is spelled."""

from __future__ import annotations

import binascii
import hashlib
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import quote

#: Longer names are cut and told apart by a hash.
MAX_NAME_LENGTH = 200


@lru_cache(maxsize=10_000)
def clean(name: str) -> str:
    """Return *name* in a form that cannot be mistaken for another part of a key.

    Letters, digits, ``-``, ``_``, ``.`` and ``~`` stay; all else is percent-encoded.
    """
    quoted = quote(name, safe="", errors="surrogatepass")
    if len(quoted) <= MAX_NAME_LENGTH:
        return quoted
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return f"{quoted[:MAX_NAME_LENGTH]}~{digest}"


class Keys:
    """The keys of one crawl: ``crawlo:{project:spider}:…`` or ``crawlo:{project:spider:id}:…``.

    The braces keep a crawl, or each partition of one, on one hash slot of a Redis Cluster.
    """

    def __init__(
        self, project: str, spider: str, crawl_id: str | None = None, *, mark: str = ""
    ) -> None:
        #: What the crawl is named by: project, spider and, if it has one, its own id.
        self.names = [project, spider] + ([crawl_id] if crawl_id else [])
        self.name = ":".join(clean(name) for name in self.names)
        self.prefix = f"crawlo:{{{self.name}{mark}}}:"
        self.meta = self.prefix + "meta"
        self.workers = self.prefix + "workers"
        self.worker_prefix = self.prefix + "worker:"
        self.leases_prefix = self.prefix + "leases:"
        self.slots = self.prefix + "slots"
        self.timed = self.prefix + "slots:timed"
        self.limits = self.prefix + "slots:limits"
        self.pace = self.prefix + "slots:pace"
        self.active = self.prefix + "slots:active"
        self.holds = self.prefix + "slots:holds"
        self.delayed = self.prefix + "delayed"
        self.queue_prefix = self.prefix + "queue:"
        self.seen_prefix = self.prefix + "seen:"
        self.seeds = self.prefix + "seeds"
        self.dead = self.prefix + "dead"
        self.stats_prefix = self.prefix + "stats:"
        self.stats_runs = self.stats_prefix + "runs"
        self.stats_errors = self.stats_prefix + "errors"
        self.items = self.prefix + "items"
        self.items_writers = self.prefix + "items:writers"
        self.items_seen = self.prefix + "items:seen"
        self.items_seen_prefix = self.prefix + "items:seen:"
        self.items_dead = self.prefix + "items:dead"
        self.control = self.prefix + "control"
        self.audit = self.prefix + "audit"
        self.alerts = self.prefix + "alerts"
        self.cookies = self.prefix + "cookies"
        self.cookies_prefix = self.prefix + "cookies:"
        #: How far `repartition` has come, and what it has set aside.
        self.moving = self.prefix + "moving"
        self.moving_prefix = self.prefix + "moving:"

    def partition(self, number: int, count: int) -> Keys:
        """Return the keys of one of *count* partitions of this crawl; number 0 are these.

        The partitions are spread evenly over the hash slots of a cluster.
        """
        if number == 0:
            return self
        return Keys(*self.names, mark=_mark(self.name, number, count))

    def seen_urls(self, chunk: int) -> str:
        """The URLs of some of the seen set; see ``_seen_urls.lua``."""
        return f"{self.seen_prefix}urls:{chunk}"

    @property
    def queues(self) -> list[str]:
        """What the scripts that touch queues need of slots; see ``_limits.lua``."""
        return [
            self.slots, self.timed, self.limits, self.pace, self.active, self.queue_prefix,
        ]  # fmt: skip

    def worker(self, worker_id: str) -> str:
        return self.worker_prefix + worker_id

    def leases(self, worker_id: str) -> str:
        return self.leases_prefix + worker_id

    def feed(self, name: str) -> str:
        """The last batch of a program that feeds the crawl."""
        return f"{self.prefix}feed:{clean(name)}"

    def migration(self, name: str) -> str:
        """How far a foreign queue was moved into the crawl."""
        return f"{self.prefix}migration:{clean(name)}"

    def stats_nodes(self, run: int) -> str:
        """The nodes that have written statistics of a run."""
        return f"{self.stats_prefix}{run}:nodes"

    def stats_folded(self, run: int) -> str:
        """The nodes that were given up and whose statistics stand under another's name."""
        return f"{self.stats_prefix}{run}:folded"

    def stats(self, run: int, node: str = "") -> str:
        """Statistics of a node in a run; without *node* what all those keys begin with."""
        return f"{self.stats_prefix}{run}:node:{node}"

    def stats_series(self, run: int) -> str:
        """Samples of a run over time."""
        return f"{self.stats_prefix}{run}:series"

    def stats_node_series(self, run: int, node: str = "") -> str:
        """Samples of a node; without *node* what all those keys begin with."""
        return f"{self.stats_prefix}{run}:series:{node}"

    def robots(self, site: str) -> str:
        """The robots.txt of a site."""
        return f"{self.prefix}robots:{clean(site)}"

    def robots_claim(self, site: str) -> str:
        """Who is fetching the robots.txt of a site."""
        return f"{self.prefix}robots:claim:{clean(site)}"

    def queue(self, slot: str, priority: str | None = None) -> str:
        """Priorities of a slot, or the list of one of them. *slot* is `clean` already."""
        return self.queue_prefix + slot + (f":{priority}" if priority is not None else "")

    def __repr__(self) -> str:
        return f"Keys({self.prefix!r})"


#: Between the name of a crawl and what tells its partitions apart; `clean` leaves none in a name.
_MARK = "#"
_HASH_SLOTS = 16384


@lru_cache(maxsize=10_000)
def _mark(name: str, number: int, count: int) -> str:
    """Return what makes the hash slot of a partition the right part of the ring away from home.

    It is at most a 32nd of a partition's share off its place.
    """
    place = hash_slot(name) + number * _HASH_SLOTS // count
    reach = max(8, _HASH_SLOTS // (32 * count))
    attempt = 0
    while True:
        mark = f"{_MARK}{number}.{count}.{attempt}"
        if (hash_slot(name + mark) - place + reach) % _HASH_SLOTS <= 2 * reach:
            return mark
        attempt += 1


def hash_slot(tag: str) -> int:
    """Return the hash slot of a Redis Cluster that keys with *tag* in braces belong to."""
    return binascii.crc_hqx(tag.encode(), 0) % _HASH_SLOTS


def taken_keys(source: str, crawl: str) -> tuple[str, str]:
    """Return where is noted what workers of *crawl* took from *source* and have not queued yet.

    That is the key of those workers' names, and what the keys of their entries begin with. They
    are on the hash slot of *source*, which is not one of ours.
    """
    begin = source.find("{")
    end = source.find("}", begin + 1)
    tag = source[begin + 1 : end] if 0 <= begin < end - 1 else source
    prefix = f"crawlo:taken:{{{tag}}}:{clean(source)}:{crawl}:"
    return prefix + "workers", prefix + "of:"


#: What the keys of a foreign queue begin with while it is moved into a crawl.
MIGRATING = "crawlo:migrating:"
#: Says which move a key that was set aside belongs to; the key's own name follows.
MIGRATION_TICKET = "crawlo:migrating-ticket:"

#: The names of all crawls.
CRAWLS = "crawlo:crawls"


def partitions_among(home: Keys, names: Iterable[str]) -> set[str]:
    """Return what tells those partitions of a crawl from others that *names* of keys belong to."""
    start = f"crawlo:{{{home.name}"
    return {
        name[len(start) :].partition("}")[0] for name in names if name.startswith(start + _MARK)
    }


def partition_pattern(keys: Keys) -> str:
    """Return what matches all keys of all partitions of a crawl, but for its own."""
    return f"crawlo:{{{keys.name}{_MARK}*"
