"""MySQLPipeline's writer against a real MariaDB."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import json
import sys

import asyncmy
import pytest

from crawlo_scrapy.pipelines.batching import BatchLimits
from crawlo_scrapy.pipelines.errors import StorageError
from crawlo_scrapy.pipelines.mysql_writer import MySQLOptions, MySQLWriter
from tests.pipelines.storing import Watch, names, store


@pytest.fixture
def make(mariadb, target):
    """Returns a writer to this test's table."""

    def make(source=target, **options):
        own = {"create_table": True, "host": mariadb.host, "port": mariadb.port,
               "user": mariadb.user, "password": mariadb.password,
               "database": mariadb.database, **options}  # fmt: skip
        return MySQLWriter(MySQLOptions(**own), names(source))

    return make


@pytest.fixture
def ask(mariadb):
    """Asks the server for rows."""

    async def ask(sql, *args):
        connection = await asyncmy.connect(
            host=mariadb.host, port=mariadb.port, user=mariadb.user, charset="utf8mb4",
            password=mariadb.password, database=mariadb.database, autocommit=True,
        )  # fmt: skip
        async with connection.cursor() as cursor:
            await cursor.execute(sql, args or None)
            rows = await cursor.fetchall()
        await connection.ensure_closed()
        return list(rows)

    return ask


@dataclasses.dataclass
class Book:
    name: str | None = None
    price: float | None = None
    pages: int = 0


async def test_values_come_back_as_they_were(make, ask, target):
    moment = dt.datetime(2024, 2, 29, 12, 30, 1, 250_000)
    item = {
        "text": "é 🕷 \\ ' \" \n \0 %s `",
        "none": None,
        "yes": True,
        "big": 2**63 - 1,
        "price": decimal.Decimal("1234567890.123456789"),
        "ratio": 0.1,
        "at": moment.replace(tzinfo=dt.timezone(dt.timedelta(hours=2))),
        "day": moment.date(),
        "raw": bytes(range(256)),
        "nested": {"a": [1, {"ü": None}]},
    }
    assert await store(make(), item) == [None]
    [row] = await ask(f"SELECT {','.join(item)} FROM {target}")
    found = dict(zip(item, row, strict=True))
    found["nested"] = json.loads(found["nested"])
    expected = {**item, "yes": 1, "at": moment - dt.timedelta(hours=2)}
    assert found == expected


async def test_a_repeat_is_stored_once(make, ask, target):
    assert await store(make(), {"a": 1}, {"a": 1}, {"a": 2}) == [None] * 3
    assert await store(make(), {"a": 1}, {"a": 3}) == [None] * 2
    assert await ask(f"SELECT a FROM {target} ORDER BY a") == [(1,), (2,), (3,)]


async def test_a_key_of_ones_own(make, ask, target):
    await store(make(key=["url"]), {"url": "u" * 3000, "n": 1})
    await store(make(key=["url"]), {"url": "u" * 3000, "n": 2})
    assert await ask(f"SELECT n FROM {target}") == [(1,)]
    await store(make(key=["url"], auto_update=True), {"url": "u" * 3000, "n": 3})
    assert await ask(f"SELECT n FROM {target}") == [(3,)]
    [reason] = await store(make(key=["url"]), {"n": 4})
    assert "no value in its key field 'url'" in reason


async def test_update_columns(make, ask, target):
    await ask(f"CREATE TABLE {target} (url VARCHAR(99) UNIQUE, a INT, b INT)")
    options = {"update_columns": ["b"], "create_table": False}
    await store(make(**options), {"url": "u", "a": 1, "b": 1})
    await store(make(**options), {"url": "u", "a": 2, "b": 2})
    assert await ask(f"SELECT a, b FROM {target}") == [(1, 2)]


async def test_without_ignore_a_repeat_is_refused(make, target):
    reasons = await store(make(insert_ignore=False), {"a": 1}, {"a": 2}, {"a": 1})
    assert [reason is None for reason in reasons].count(True) == 2
    assert any("Duplicate entry" in reason for reason in reasons if reason)


async def test_what_does_not_fit_is_refused_and_not_bent(make, ask, target):
    await ask(f"CREATE TABLE {target} (id INT UNIQUE, s VARCHAR(3), n TINYINT, d DATE NOT NULL)")
    good = {"s": "abc", "n": 1, "d": dt.date(2024, 1, 1)}
    bad = [{"s": "abcd"}, {"n": 300}, {"n": 1.5}, {"d": "no date"}, {"d": None}]
    items = [{"id": i, **good, **change} for i, change in enumerate([{}, *bad, {}])]
    watch = Watch()
    reasons = await store(make(), *items, watch=watch)
    assert [i for i, reason in enumerate(reasons) if reason is None] == [0, 6]
    words = ["too long for column 's'", "Out of range", "'n' is 1.5", "no date", "cannot be null"]
    for word, reason in zip(words, reasons[1:6], strict=True):
        assert word in reason
    assert await ask(f"SELECT id FROM {target} ORDER BY id") == [(0,), (6,)]


HOSTILE_NAMES = ["a`b", "a'b", 'a"b', "a.b", "$set", "%s", "a%(x)s", "x; DROP TABLE t; --", "ü"]


async def test_hostile_field_names_are_only_names(make, ask, target):
    items = [{"id": i, name: "v"} for i, name in enumerate(HOSTILE_NAMES)]
    for item in items:
        own = f"{target}_{item['id']}"
        assert await store(make(own), item) == [None]
        found = await ask("SELECT column_name FROM information_schema.columns "
                          "WHERE table_name = %s ORDER BY ordinal_position", own)  # fmt: skip
        assert found[2] == (list(item)[1],)


async def test_hostile_table_name(make, ask):
    assert await store(make("a`; DROP TABLE x; -- %s"), {"a": 1}) == [None]
    assert await ask("SELECT a FROM `a``; DROP TABLE x; -- %s`") == [(1,)]


async def test_hostile_items_do_not_harm_their_batch(make, ask, target):
    await ask(f"CREATE TABLE {target} (id INT UNIQUE, v LONGTEXT)")
    [(limit,)] = await ask("SELECT @@max_allowed_packet")
    bad = {
        1: float("nan"), 2: float("-inf"), 3: decimal.Decimal("sNaN"), 4: "\ud800",
        5: "x" * limit, 6: "'" * (limit // 2), 7: print, 8: {"deep": float("nan")},
    }  # fmt: skip
    good = {0: "first", 9: "'); DROP TABLE x; --", 10: "\0\x1a\\", 11: "𝕏" * 1000, 12: "x" * 10**6}
    items = [{"id": i, "v": value} for i, value in sorted({**bad, **good}.items())]
    items += [{"id": 99, "v": "x", f"no\0pe{n}": 1} for n in range(2)]
    reasons = await store(make(), *items)
    assert [items[i]["id"] for i, reason in enumerate(reasons) if reason is None] == sorted(good)
    assert dict(await ask(f"SELECT id, v FROM {target}")) == good


async def test_ten_thousand_fields_are_refused_with_a_reason(make, target):
    reasons = await store(make(), {f"f{i}": i for i in range(10_000)}, {"a": 1})
    assert "Too many columns" in reasons[0]
    assert reasons[1] is None


async def test_a_table_from_what_the_class_declares(make, ask, target):
    items = [{"name": None, "price": 5, "pages": 3}, {"name": "n", "price": 5.5, "pages": 4}]
    assert await store(make(), *items, item_class=Book) == [None, None]
    assert await ask(f"SELECT name, price, pages FROM {target} ORDER BY pages") == [
        (None, 5.0, 3),
        ("n", 5.5, 4),
    ]


async def test_many_tables_in_one_batch_are_all_or_nothing(make, ask, target):
    await ask(f"CREATE TABLE {target}_a (id INT)")
    await ask(f"CREATE TABLE {target}_b (id TINYINT)")
    items = [{"id": 1}, {"id": 2}, {"id": 999}, {"id": 3}]
    writer = make({"*": f"{target}_a", "Book": f"{target}_b"})
    await writer.open()
    rows = [await writer.prepare(item, cls) for item in items for cls in (dict, Book)]
    with pytest.raises(Exception, match="Out of range"):
        await writer.write(rows)
    await writer.close()
    assert await ask(f"SELECT * FROM {target}_a") == []


async def test_statements_keep_to_the_packet_size(make, ask, target):
    """A larger one would end the connection, and look like an outage that never ends."""
    [(usual,)] = await ask("SELECT @@global.max_allowed_packet")
    await ask("SET GLOBAL max_allowed_packet = 1048576")
    try:
        items = [{"id": i, "v": "'" * size} for i, size in enumerate([1, 300_000, 490_000, 2] * 3)]
        too_big = {"id": 99, "v": "'" * 520_000}
        reasons = await store(make(), *items, too_big, limits=BatchLimits(size=10**9))
    finally:
        await ask(f"SET GLOBAL max_allowed_packet = {usual}")
    assert reasons[:-1] == [None] * 12
    assert "max_allowed_packet of the server is 1048576" in reasons[-1]
    assert await ask(f"SELECT COUNT(*), SUM(LENGTH(v)) FROM {target}") == [(12, 2_370_009)]


async def _why(writer):
    with pytest.raises(StorageError) as caught:
        await writer.open()
    await writer.close()
    assert "p@ss" not in str(caught.value)
    return str(caught.value)


async def test_errors_at_the_start(make, ask, target, monkeypatch):
    assert "check MYSQL_USER and MYSQL_PASSWORD" in await _why(make(password="wrong"))
    assert "has no database 'nowhere'" in await _why(make(database="nowhere"))
    assert "check MYSQL_HOST and MYSQL_PORT" in await _why(make(port=1))
    assert f"has no table '{target}'" in await _why(make(create_table=False))
    await ask(f"CREATE TABLE {target} (a INT)")
    assert "MYSQL_UPDATE_COLUMNS" in await _why(make(update_columns=["b"]))
    assert "MYSQL_UNIQUE_KEY" in await _why(make(key=["A", "b"]))
    monkeypatch.setitem(sys.modules, "asyncmy", None)
    assert "pip install 'crawlo_scrapy[mysql]'" in await _why(make())


async def test_a_table_without_a_key_is_warned_of(make, ask, target, caplog):
    await ask(f"CREATE TABLE {target} (id INT AUTO_INCREMENT PRIMARY KEY, a INT)")
    await store(make(), {"a": 1})
    assert "has no unique key" in caplog.text
    caplog.clear()
    await ask(f"ALTER TABLE {target} ADD COLUMN item_fingerprint CHAR(32) UNIQUE")
    await store(make(), {"a": 1}, {"a": 2})
    await store(make(), {"a": 2})
    assert caplog.text == ""
    assert await ask(f"SELECT COUNT(*) FROM {target}") == [(3,)]  # the first has none


async def test_a_missing_column_is_named(make, ask, target):
    await ask(f"CREATE TABLE {target} (a INT UNIQUE)")
    reasons = await store(make(), {"a": 1}, {"a": 2, "b": 1})
    assert reasons[0] is None
    assert f"table '{target}' has no column 'b'; it has a" in reasons[1]


def test_no_password_in_a_repr():
    options = MySQLOptions(password="secret")
    assert "secret" not in repr(options) + str(options)
