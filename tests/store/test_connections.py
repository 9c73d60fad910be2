"""TLS, Sentinels and clusters, from the event loop and from a thread."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from crawlo_scrapy.localserver import LocalRedis
from crawlo_scrapy.serverprocess import HOST, free_port
from crawlo_scrapy.store.blocking import BlockingClient
from crawlo_scrapy.store.client import Address, Client, Tls
from crawlo_scrapy.store.errors import StoreError, StoreRefused, StoreUnavailable
from crawlo_scrapy.store.frontier import Frontier
from crawlo_scrapy.store.inspect import find_crawls, inspect_all
from crawlo_scrapy.store.keys import Keys
from crawlo_scrapy.store.scripts import Call, run, teach
from crawlo_scrapy.store.workers import Workers
from tests.certificates import write_certificates
from tests.crawling import until
from tests.servers import RedisCluster, RedisSentinel, RedisTLS
from tests.store.conftest import push
from tests.store.test_client import shown

PASSWORD = "s3cr:t/@ %é"
#: Beside `HOST` on this machine, and in no certificate.
ELSEWHERE = "127.0.0.2"

Use = Callable[[Address], Awaitable[None]]


async def use(address: Address) -> None:
    """Run a script on a key, and a command without one."""
    client = Client.connect(address)
    try:
        await Workers(client, Keys("p", "s")).finish()
        await client.check_server()
    finally:
        await client.close()


async def use_in_thread(address: Address) -> None:
    def run() -> None:
        client, keys = BlockingClient(address), Keys("p", "s")
        try:
            client.run("items_seen", [keys.items_seen, keys.items_seen_prefix], [1, 2])
            client.ping()
        finally:
            client.close()

    await asyncio.to_thread(run)


@pytest.fixture(params=[use, use_in_thread], ids=["loop", "thread"])
def uses(request: pytest.FixtureRequest) -> Use:
    """Both kinds of clients."""
    return request.param  # type: ignore[no-any-return]


# TLS.


@pytest.fixture(scope="module")
def tls_server() -> Iterator[RedisTLS]:
    with RedisTLS() as server:
        yield server


@pytest.fixture(scope="module")
def strict_tls_server() -> Iterator[RedisTLS]:
    """It wants a certificate of ours."""
    with RedisTLS(client_certificate=True, password=PASSWORD) as server:
        yield server


async def test_tls(tls_server: RedisTLS, uses: Use) -> None:
    tls = Tls(ca_file=str(tls_server.ca))
    port = tls_server.tls_port
    await uses(Address(url=tls_server.tls_url, tls=tls))
    await uses(Address(url=f"valkeys://localhost:{port}", tls=tls))
    await uses(Address(host="localhost", port=port, tls=tls))
    # Asked for, it is spoken, whatever the URL says.
    await uses(Address(url=f"redis://{HOST}:{port}", tls=tls))
    await uses(Address(url=f"{tls_server.tls_url}?ssl_ca_certs={tls_server.ca}"))


async def test_a_certificate_of_somebody_else_is_refused(
    tls_server: RedisTLS, uses: Use, tmp_path: Path
) -> None:
    write_certificates(tmp_path, HOST)
    for tls in (None, Tls(), Tls(ca_file=str(tmp_path / "ca.pem"))):
        with pytest.raises(StoreRefused, match=r"REDIS_TLS_CA_FILE") as caught:
            await uses(Address(url=tls_server.tls_url, tls=tls))
        assert "CERTIFICATE_VERIFY_FAILED" in str(caught.value)


async def test_without_verifying(tls_server: RedisTLS, uses: Use) -> None:
    await uses(Address(url=tls_server.tls_url, tls=Tls(verify=False)))


async def test_the_host_must_stand_in_the_certificate(uses: Use) -> None:
    class Elsewhere(RedisTLS):
        def directives(self) -> list[str]:
            lines = super().directives()
            return [f"{line} {ELSEWHERE}" if line.startswith("bind") else line for line in lines]

    with Elsewhere() as server:
        address = Address(host=ELSEWHERE, port=server.tls_port, tls=Tls(ca_file=str(server.ca)))
        with pytest.raises(StoreRefused, match="REDIS_TLS_CHECK_HOSTNAME"):
            await uses(address)
        await uses(replace(address, tls=Tls(ca_file=str(server.ca), check_hostname=False)))


async def test_client_certificate(strict_tls_server: RedisTLS, uses: Use) -> None:
    server = strict_tls_server
    files = Tls(str(server.ca), str(server.certificate), str(server.key))
    await uses(Address(url=server.tls_url, tls=files))
    await uses(Address(host=HOST, port=server.tls_port, password=PASSWORD, tls=files))
    with pytest.raises(StoreError):
        # What the server says of it may come too late to be read.
        await uses(Address(url=server.tls_url, tls=Tls(str(server.ca))))


async def test_a_plain_client_at_a_tls_port(tls_server: RedisTLS, uses: Use) -> None:
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        await uses(Address(host=HOST, port=tls_server.tls_port, timeout=2))


async def test_a_tls_client_at_a_plain_port(tls_server: RedisTLS, uses: Use) -> None:
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        await uses(Address(host=HOST, port=tls_server.port, timeout=2, tls=Tls()))


async def test_the_host_name_goes_out(uses: Use, tmp_path: Path) -> None:
    """A proxy chooses the server by it (SNI)."""
    write_certificates(tmp_path, HOST)
    asked = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    context.sni_callback = lambda connection, name, context: asked.append(name)

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(hang_up, HOST, 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(StoreUnavailable):
        await uses(Address(host="localhost", port=port, tls=Tls(ca_file=str(tmp_path / "ca.pem"))))
    server.close()
    assert set(asked) == {"localhost"}


# Sentinels.


@pytest.fixture(scope="module")
def sentinel() -> Iterator[RedisSentinel]:
    """The servers and their Sentinels each have a password."""
    with RedisSentinel(password=PASSWORD, sentinel_password="watch/me") as sentinel:
        yield sentinel


@pytest.fixture
def watched(sentinel: RedisSentinel) -> Address:
    return Address(
        sentinels=tuple(f"{host}:{port}" for host, port in sentinel.sentinels),
        password=PASSWORD,
        sentinel_password="watch/me",
    )


async def test_the_master_that_sentinels_name(
    watched: Address, sentinel: RedisSentinel, uses: Use
) -> None:
    await uses(watched)
    # One is enough, and some may be down.
    await uses(replace(watched, sentinels=(f"{HOST}:{free_port()}", watched.sentinels[1])))
    urls = [f"redis://:watch%2Fme@{place}/0" for place in watched.sentinels]
    await uses(replace(watched, sentinels=tuple(urls), sentinel_password=None))
    client = Client.connect(watched)
    info = await client.call("info", "server")
    assert info["tcp_port"] == sentinel.master()[1]
    await client.close()


async def test_a_database_of_the_master(watched: Address, project: str) -> None:
    here, there = Client.connect(watched), Client.connect(replace(watched, db=3))
    await there.call("hset", f"crawlo:{project}", "a", 1)
    assert not await here.call("exists", f"crawlo:{project}")
    await there.call("delete", f"crawlo:{project}")
    for client in (here, there):
        await client.close()


async def test_what_is_wrong_with_sentinels(watched: Address, uses: Use) -> None:
    with pytest.raises(StoreUnavailable, match=r"REDIS_SENTINEL_SERVICE") as caught:
        await uses(replace(watched, service="nobody"))
    assert "nobody" in str(caught.value)
    with pytest.raises(StoreRefused, match="REDIS_SENTINEL_PASSWORD") as caught:
        await uses(replace(watched, sentinel_password="wr0ng"))
    assert "wr0ng" not in shown(caught.value)
    with pytest.raises(StoreRefused, match="REDIS_PASSWORD") as caught:
        await uses(replace(watched, password="wr0ng"))
    assert "wr0ng" not in shown(caught.value)
    with pytest.raises(StoreUnavailable, match="REDIS_SENTINEL_URLS"):
        await uses(Address(sentinels=(f"{HOST}:{free_port()}",)))
    with pytest.raises(StoreRefused, match="REDIS_SENTINEL_URLS") as caught:
        await uses(Address(sentinels=(f"redis://:s3cr3t/more@{HOST}:1",)))
    assert "s3cr3t" not in shown(caught.value)


async def test_a_client_of_sentinels_keeps_to_its_connections(
    watched: Address, sentinel: RedisSentinel, project: str
) -> None:
    client = Client.connect(watched, connections=2)
    waiting = [asyncio.ensure_future(client.call("blpop", project, 0)) for _ in range(5)]
    master = next(one for one in sentinel.data_servers if one.port == sentinel.master()[1])
    with redis.Redis.from_url(master.url) as other:

        def blocked() -> int:
            return int(other.info("clients")["blocked_clients"])

        await until(lambda: blocked() == 2, "both connections are in use")
        other.rpush(project, *range(5))
        await asyncio.gather(*waiting)
    await client.close()


async def test_sentinels_over_tls(tls_server: RedisTLS, uses: Use) -> None:
    class Watcher(RedisTLS):
        arguments = ("--sentinel",)

        def directives(self) -> list[str]:
            tls = [line for line in tls_server.directives() if "cert" in line or "key" in line]
            return [
                f"bind {HOST}", f"port {self.port}", f"dir {self.folder}",
                f"tls-port {self.tls_port}", *tls, "tls-auth-clients no", "tls-replication yes",
                f"sentinel monitor mymaster {HOST} {tls_server.tls_port} 1",
            ]  # fmt: skip

    tls = Tls(ca_file=str(tls_server.ca))
    with Watcher() as watcher:
        place = f"localhost:{watcher.tls_port}"
        for sentinel in (place, f"rediss://{place}"):
            await uses(Address(sentinels=(sentinel,), tls=tls))
        with pytest.raises(StoreRefused, match="REDIS_TLS_CA_FILE"):
            await uses(Address(sentinels=(place,), tls=Tls()))
        with pytest.raises(StoreUnavailable, match="REDIS_SENTINEL_URLS"):
            await uses(Address(sentinels=(place,)))


# Clusters.


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    with RedisCluster(password=PASSWORD) as cluster:
        yield cluster


@pytest.fixture
def joined(cluster: RedisCluster) -> Address:
    nodes = tuple(f"{HOST}:{node.port}" for node in cluster.nodes)
    return Address(cluster_nodes=nodes, password=PASSWORD)


async def test_a_cluster(joined: Address, uses: Use) -> None:
    await uses(joined)
    await uses(replace(joined, cluster_nodes=joined.cluster_nodes[2:]))
    await uses(replace(joined, cluster_nodes=(f"{HOST}:{free_port()}", joined.cluster_nodes[1])))


async def test_what_is_wrong_with_a_cluster(
    joined: Address, cluster: RedisCluster, redis_server: LocalRedis, uses: Use
) -> None:
    with pytest.raises(StoreRefused, match=r"REDIS_DB is 3"):
        await uses(replace(joined, db=3))
    with pytest.raises(StoreRefused, match="REDIS_CLUSTER_NODES must be"):
        await uses(replace(joined, cluster_nodes=("host",)))
    with pytest.raises(StoreRefused, match="REDIS_PASSWORD") as caught:
        await uses(replace(joined, password="wr0ng"))
    assert "wr0ng" not in shown(caught.value)
    with pytest.raises(StoreUnavailable, match="REDIS_CLUSTER_NODES is right"):
        await uses(replace(joined, cluster_nodes=(f"{HOST}:{free_port()}",)))
    with pytest.raises(StoreRefused, match="is not a cluster"):
        await uses(Address(cluster_nodes=(f"{HOST}:{redis_server.port}",)))
    # A third of all keys are on a node.
    with pytest.raises(StoreRefused, match="Set REDIS_CLUSTER_NODES"):
        for node in cluster.nodes:
            await uses(Address(url=node.url))


async def test_a_key_on_another_master(joined: Address, project: str) -> None:
    client, keys = Client.connect(joined), Keys(project, "s")
    with pytest.raises(StoreRefused, match=r"hash tag.*redis_key"):
        await run(client, Call("seen_add", [keys.meta, "start_urls"], [1, 2]))
    await client.close()


async def test_an_exchange_is_one_round_trip_in_a_cluster(joined: Address, project: str) -> None:
    client, keys = Client.connect(joined), Keys(project, "s")
    await teach(client, keys.meta)
    _, member = await Workers(client, keys).join("w", {}, bucket_fill=400)
    frontier = Frontier(client, keys)
    pushed = await frontier.exchange(member, [push(n) for n in range(3)], limit=2)
    sent = []
    node = client.redis.get_node_from_key(keys.meta)
    connection = node.acquire_connection()
    write = connection.send_packed_command

    async def count(command: object, *args: object) -> None:
        sent.append(command)
        await write(command, *args)

    connection.send_packed_command = count
    node.release(connection)
    acks = [lease.id for lease in pushed.leases]
    result = await frontier.exchange(member, [push("new")], acks, limit=9)
    assert len(sent) == 1
    assert [lease.payload for lease in result.leases] == [b"2", b"new"]
    assert result.held == 2
    await frontier.purge()
    await client.close()


async def test_all_crawls_of_a_cluster_are_found_and_purged(
    joined: Address, cluster: RedisCluster, project: str
) -> None:
    client = Client.connect(joined)
    crawls = [Keys(project, f"s{number}") for number in range(12)]
    for keys in crawls:
        _, member = await Workers(client, keys).join("w", {}, bucket_fill=400)
        await Frontier(client, keys).exchange(member, [push(n) for n in range(5)])
    assert len({await client.server_of(keys.meta) for keys in crawls}) == 3
    assert await find_crawls(client, project) == sorted(keys.name for keys in crawls)
    states = await inspect_all(client, crawls)
    assert [state.queued for state in states] == [5] * 12
    before = sum(count_keys(node) for node in cluster.nodes)
    removed = 0
    for keys in crawls:
        removed += await Frontier(client, keys).purge()
    listed = 1  # the list of all crawls is empty then, and gone
    assert removed + listed == before - sum(count_keys(node) for node in cluster.nodes)
    assert await find_crawls(client, project) == []
    await client.close()


def count_keys(node: LocalRedis) -> int:
    with redis.Redis.from_url(node.url) as client:
        return int(client.dbsize())


async def test_a_client_of_a_cluster_keeps_to_its_connections(
    joined: Address, cluster: RedisCluster, project: str
) -> None:
    client = Client.connect(joined, "bounded", connections=2)
    await asyncio.gather(*(client.call("hget", project, "a") for _ in range(50)))
    for node in cluster.nodes:
        with redis.Redis.from_url(node.url) as other:
            names = [connection["name"] for connection in other.client_list()]
            assert names.count("bounded") <= 2 + 1  # that which asks who serves what
    await client.close()


async def test_a_cluster_over_tls(uses: Use) -> None:
    class Node(RedisTLS):
        def directives(self) -> list[str]:
            return [*super().directives(), "cluster-enabled yes", "tls-cluster yes"]

    with Node() as node, redis.Redis.from_url(node.url) as plain:
        plain.execute_command("CLUSTER ADDSLOTS", *range(16384))
        await until(lambda: plain.cluster("INFO")["cluster_state"] == "ok", "the cluster is up")
        places = (f"localhost:{node.tls_port}",)
        await uses(Address(cluster_nodes=places, tls=Tls(ca_file=str(node.ca))))
        with pytest.raises(StoreRefused, match="REDIS_TLS_CA_FILE"):
            await uses(Address(cluster_nodes=places, tls=Tls()))


async def test_close_of_a_cluster_that_is_gone() -> None:
    with RedisCluster() as cluster:
        address = Address(cluster_nodes=(f"{HOST}:{cluster.nodes[0].port}",), timeout=2)
        client = Client.connect(address)
        await client.check_server()
    with pytest.raises(StoreUnavailable):
        await client.call("hget", "crawlo:{a}", "b")
    await client.close()
