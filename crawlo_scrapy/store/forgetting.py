"""Forgetting what a crawl has seen, in short steps: others may crawl meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass

from crawlo_scrapy.store.client import Client
from crawlo_scrapy.store.errors import StoreRefused
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.scripts import Call, run
from crawlo_scrapy.store.seen import look, split

#: Fingerprints that one script forgets at most: some 10 ms of Redis's time.
STEP = 500
#: Keys that one command removes at most.
KEYS_STEP = 500
#: Why a Bloom filter has to keep what was seen.
CANNOT = "It cannot forget a URL: the bits of one stand for others, too."


@dataclass(frozen=True)
class KeptURL:
    """A URL that a crawl has seen and kept, and where it stands. `time` is Redis's, in ms."""

    url: str
    prefix: int
    member: int
    id: bytes
    stream: str

    @property
    def time(self) -> int:
        return int(self.id.partition(b"-")[0])


async def forget(client: Client, keys: Keys, fingerprints: Iterable[bytes]) -> int:
    """Forget *fingerprints*; return how many of them had been seen.

    Raises `StoreRefused` where a Bloom filter is.
    """
    return await _forget(client, keys, [(*split(print_), b"") for print_ in fingerprints])


async def kept_urls(
    client: Client,
    keys: Keys,
    test: Callable[[str], bool] = lambda url: True,
    *,
    before: int | None = None,
) -> AsyncIterator[list[KeptURL]]:
    """Yield the URLs that were kept and pass *test*, oldest first, in lists of at most `STEP`.

    With *before* only those that were seen before that time (Redis's, in ms).
    """
    for chunk in (await look(client, keys)).chunks:
        stream, start = keys.seen_urls(chunk), "-"
        while True:
            last = "+" if before is None else f"{before - 1}"
            entries = await client.call("xrange", stream, start, last, count=STEP)
            found = [_kept(stream, *entry) for entry in entries]
            yield [url for url in found if test(url.url)]
            if len(entries) < STEP:
                break
            start = f"({entries[-1][0].decode()}"


async def kept_count(client: Client, keys: Keys) -> int:
    """Return how many URLs are kept."""
    chunks = (await look(client, keys)).chunks
    return sum([int(await client.call("xlen", keys.seen_urls(chunk))) for chunk in chunks])


async def forget_urls(client: Client, keys: Keys, urls: list[KeptURL]) -> int:
    """Forget URLs of one list of `kept_urls`; return how many had not been forgotten before."""
    triples = [(url.prefix, url.member, url.id) for url in urls]
    return await _forget(client, keys, triples, urls[0].stream) if urls else 0


async def forget_slices(client: Client, keys: Keys, age: float) -> int:
    """Forget what was seen more than *age* seconds ago, of a seen set that expires.

    In whole slices: some of what is older than that by less than a slice stays. Returns how many
    fingerprints went.
    """
    names = [keys.meta, keys.seen_prefix]
    [[count, *begins]] = await run(client, Call("seen_drop", names, [round(age * 1000)]))
    for begin in begins:
        # Nobody looks there any more; should this be cut off, they expire.
        async for page in client.scan(f"{begin.decode()}*", KEYS_STEP, near=keys.meta):
            if page:
                await client.call("unlink", *page)
    return int(count)


async def _forget(
    client: Client, keys: Keys, triples: list[tuple[int, int, bytes]], stream: str = ""
) -> int:
    names, total = [keys.meta, keys.seen_prefix, *([stream] if stream else [])], 0
    for first in range(0, len(triples), STEP):
        args = [value for triple in triples[first : first + STEP] for value in triple]
        [count] = await run(client, Call("seen_forget", names, args))
        if count < 0:
            raise StoreRefused(f"The crawl {keys.name} has a Bloom filter. {CANNOT}")
        total += count
    return total


def _kept(stream: str, entry_id: bytes, fields: dict[bytes, bytes]) -> KeptURL:
    url = fields[b"u"].decode(errors="replace")
    return KeptURL(url, int(fields[b"p"]), int(fields[b"m"]), entry_id, stream)
