"""Items into MySQL 8 or MariaDB, with asyncmy."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from crawlo_scrapy.pipelines.errors import ItemRefused, StorageError, StorageUnavailable
from crawlo_scrapy.pipelines.fields import fingerprint
from crawlo_scrapy.pipelines.mysql_columns import (
    FINGERPRINT,
    Shape,
    Table,
    create_table,
    insert,
    most_bytes,
    quote,
    to_sql,
)
from crawlo_scrapy.pipelines.writer import Row, Writer

if TYPE_CHECKING:
    from crawlo_scrapy.pipelines.names import NameTemplate

logger = logging.getLogger(__name__)

#: Server errors that say nothing about the item: too many connections, shutting down, network,
#: lock wait, deadlock, read-only, disk or table full, killed, no such table, no right any more.
_NOT_THE_ITEM = frozenset(
    {1021, 1040, 1044, 1045, 1049, 1053, 1079, 1114, 1142, 1146, 1158, 1159, 1160, 1161}
    | {1180, 1203, 1205, 1213, 1226, 1290, 1317, 1836, 1927, 1969, 3024, 3572, 4031}
    | {2002, 2003, 2006, 2013, 2014, 2055}
)
#: Text that does not fit or does not parse is an error, not something cut off or zero. Backslash
#: is an escape, as the driver's quoting takes for granted.
_SQL_MODE = "'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,ERROR_FOR_DIVISION_BY_ZERO'"
#: What a statement needs besides its values, and the protocol besides the statement, in bytes.
_OVERHEAD = 64 * 1024
#: How many combinations of a table and fields are remembered.
_MOST_SHAPES = 10_000


@dataclass(frozen=True)
class MySQLOptions:
    """How to reach the server, and how to write. Time-outs in seconds."""

    host: str = "localhost"
    port: int = 3306
    user: str = "root"
    password: str = field(default="", repr=False)
    database: str = "crawlo_db"
    auto_update: bool = False
    insert_ignore: bool = True
    update_columns: Sequence[str] = ()
    key: Sequence[str] = ()
    create_table: bool = False
    check_table: bool = True
    pool_min: int = 1
    pool_max: int = 10
    connect_timeout: float = 10
    read_timeout: float = 90

    def __str__(self) -> str:
        return f"MySQL at {self.host}:{self.port}"


class _Values(NamedTuple):
    shape: Shape
    values: tuple[Any, ...]


class MySQLWriter(Writer):
    """Writes items to tables, a batch in one transaction.

    A repeat is what the table's unique keys say; it is left as it is, or updated, or, with
    neither asked for, refused.
    """

    name = "mysql"

    def __init__(self, options: MySQLOptions, names: NameTemplate) -> None:
        self._options = options
        self._names = names
        self._pool: Any = None
        self._tables: dict[str, Table] = {}
        self._shapes: dict[tuple[str, ...], Shape] = {}
        self._making = asyncio.Lock()
        self._max_packet = 1024 * 1024
        self._room = self._max_packet - _OVERHEAD

    async def open(self) -> None:
        try:
            import asyncmy
            import asyncmy.errors
        except ImportError:
            raise StorageError(
                "the driver asyncmy is missing: pip install 'crawlo_scrapy[mysql]'"
            ) from None
        self._errors = asyncmy.errors
        options = self._options
        try:
            self._pool = await asyncmy.create_pool(
                minsize=min(options.pool_min, options.pool_max), maxsize=options.pool_max,
                host=options.host, port=options.port, user=options.user,
                password=options.password, database=options.database, charset="utf8mb4",
                sql_mode=_SQL_MODE, autocommit=True, binary_prefix=True,
                connect_timeout=options.connect_timeout, read_timeout=options.read_timeout,
            )  # fmt: skip
            self._max_packet = int((await self._ask("SELECT @@max_allowed_packet"))[0][0])
            self._room = self._max_packet - _OVERHEAD
        except (self._errors.MySQLError, OSError, asyncio.TimeoutError) as exc:
            raise StorageError(self._why_not(exc)) from None
        except (StorageUnavailable, ItemRefused) as exc:
            raise StorageError(str(exc)) from None
        if options.check_table:
            for name in self._names.fixed():
                await self._check(name)

    def _why_not(self, exc: Exception) -> str:
        options, code = self._options, exc.args[0] if exc.args else None
        if code in (1045, 1698):
            return f"{options} refused user {options.user!r}: check MYSQL_USER and MYSQL_PASSWORD"
        if code in (1044, 1049):
            return (
                f"{options} has no database {options.database!r} for user {options.user!r}: "
                "check MYSQL_DB, create the database, or grant the right to it"
            )
        if isinstance(exc, (OSError, asyncio.TimeoutError)) or code in (2002, 2003, 2013):
            return f"no answer from {options}: check MYSQL_HOST and MYSQL_PORT ({_said(exc)})"
        return f"{options} cannot be used: {_said(exc)}"

    async def _check(self, name: str) -> None:
        """Raise `StorageError` unless table *name* is there or may be made."""
        try:
            table = await self._load(name)
        except StorageUnavailable as exc:
            raise StorageError(str(exc)) from None
        if table is None:
            if self._options.create_table:
                return
            raise StorageError(
                f"database {self._options.database!r} has no table {name!r}: create it, check "
                "MYSQL_TABLE, or set MYSQL_CREATE_TABLE = True"
            )
        if not table.unique:
            logger.warning(
                "table %r has no unique key: an item that comes twice is stored twice. "
                "Add a unique key, or a column: ALTER TABLE %s ADD COLUMN %s CHAR(32) UNIQUE",
                name, quote(name), quote(FINGERPRINT),
            )  # fmt: skip
        options = self._options
        for setting, columns in (
            ("MYSQL_UPDATE_COLUMNS", options.update_columns), ("MYSQL_UNIQUE_KEY", options.key)
        ):  # fmt: skip
            for column in columns:
                if column.lower() not in table.columns:
                    raise StorageError(f"{setting}: table {name!r} has no column {column!r}")

    async def prepare(self, fields: Mapping[str, Any], item_class: type) -> Row:
        table_name = self._names.name(fields, item_class)
        shape = self._shapes.get((table_name, *fields))
        if shape is None:
            table = await self._table(table_name, fields, item_class)
            shape = table.shape(fields)
            if len(self._shapes) >= _MOST_SHAPES:
                self._shapes.clear()
            self._shapes[(table_name, *fields)] = shape
        values = [
            value if type(value) is str and value.isascii() else to_sql(value, name, kind)
            for (name, value), kind in zip(fields.items(), shape.types, strict=True)
        ]
        if shape.fingerprinted:
            values.append(fingerprint(fields, self._options.key))
        size = most_bytes(values, enough=self._room)
        if size > self._room:
            raise ItemRefused(
                f"it takes {size} bytes; max_allowed_packet of the server is {self._max_packet}"
            )
        return Row(_Values(shape, tuple(values)), size)

    async def write(self, rows: Sequence[Row]) -> None:
        statements, options = self._statements(rows), self._options
        async with self._connection() as connection, connection.cursor() as cursor:
            if len(statements) > 1:  # one statement is a transaction by itself
                await cursor.execute("START TRANSACTION")
            for shape, group in statements:
                values = [value for row in group for value in row.payload.values]
                sql = insert(shape, len(group), self._updated(shape), options.insert_ignore)
                await cursor.execute(sql, values)
            if len(statements) > 1:
                await cursor.execute("COMMIT")

    def _updated(self, shape: Shape) -> Sequence[str]:
        return self._options.update_columns or (shape.columns if self._options.auto_update else ())

    def _statements(self, rows: Sequence[Row]) -> list[tuple[Shape, list[Row]]]:
        """Return the rows of each statement: of one table and columns, and in one packet."""
        groups: dict[Shape, list[Row]] = defaultdict(list)
        for row in rows:
            groups[row.payload.shape].append(row)
        statements: list[tuple[Shape, list[Row]]] = []
        for shape, group in groups.items():
            room = 0
            for row in group:
                if row.size > room:
                    statements.append((shape, []))
                    room = self._room
                statements[-1][1].append(row)
                room -= row.size
        return statements

    async def _table(self, name: str, fields: Mapping[str, Any], item_class: type) -> Table:
        """Return the table, made or looked up if it is not known yet."""
        if name in self._tables:
            return self._tables[name]
        async with self._making:
            table = self._tables.get(name) or await self._load(name)
            if table is None and self._options.create_table:
                try:
                    await self._ask(create_table(name, fields, item_class))
                except ItemRefused as exc:
                    raise ItemRefused(f"no table {name!r} could be made for it: {exc}") from None
                table = await self._load(name)
        if table is None:
            raise ItemRefused(f"database {self._options.database!r} has no table {name!r}")
        return table

    async def _load(self, name: str) -> Table | None:
        try:
            found = await self._ask(
                "SELECT COLUMN_NAME, DATA_TYPE FROM information_schema.COLUMNS "
                "WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = %s",
                (name,),
            )
            keys = await self._ask(
                "SELECT COUNT(*) FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = "
                "DATABASE() AND TABLE_NAME = %s AND NON_UNIQUE = 0 AND COLUMN_NAME NOT IN "
                "(SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = "
                "DATABASE() AND TABLE_NAME = %s AND EXTRA LIKE '%%auto_increment%%')",
                (name, name),
            )
        except ItemRefused as exc:
            raise StorageUnavailable(f"cannot look up table {name!r}: {exc}") from exc
        if not found:
            return None
        columns = {str(column).lower(): (str(column), str(kind).lower()) for column, kind in found}
        self._tables[name] = Table(name, columns, unique=bool(keys[0][0]))
        return self._tables[name]

    async def _ask(self, sql: str, args: Sequence[Any] | None = None) -> Sequence[Any]:
        async with self._connection() as connection, connection.cursor() as cursor:
            await cursor.execute(sql, args)
            rows: Sequence[Any] = await cursor.fetchall()
            return rows

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        """Yield a connection; afterwards it is clean, or closed.

        Raises `StorageUnavailable` for outages, `ItemRefused` for what the server objects to.
        """
        errors = self._errors
        connection = None
        try:
            connection = await self._pool.acquire()
            yield connection
        except BaseException as exc:
            if connection is not None:
                connection.close()  # nobody knows what it has still to say, or has not committed
            code = exc.args[0] if isinstance(exc, errors.MySQLError) and exc.args else None
            lost = (OSError, EOFError, asyncio.TimeoutError, errors.InterfaceError)
            if code in _NOT_THE_ITEM or isinstance(exc, lost):
                raise StorageUnavailable(f"{self._options}: {_said(exc)}") from exc
            if code is not None:
                raise ItemRefused(_said(exc)) from exc
            raise
        finally:
            if connection is not None:
                self._pool.release(connection)

    async def close(self) -> None:
        if self._pool is not None:
            self._pool.terminate()
            await self._pool.wait_closed()
            self._pool = None


def _said(exc: BaseException) -> str:
    """Return the server's words, with its number for them."""
    if len(exc.args) == 2 and isinstance(exc.args[0], int):
        return f"{exc.args[1]} (error {exc.args[0]})"
    return str(exc) or type(exc).__name__
