"""Items into MongoDB, with pymongo's own asynchronous client."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from crawlo_scrapy.pipelines.errors import (
    ItemRefused,
    RowsRefused,
    StorageError,
    StorageUnavailable,
)
from crawlo_scrapy.pipelines.fields import fingerprint, require
from crawlo_scrapy.pipelines.writer import Row, Writer

if TYPE_CHECKING:
    from pymongo import AsyncMongoClient
    from pymongo.asynchronous.collection import AsyncCollection

    from crawlo_scrapy.pipelines.names import NameTemplate

MODES = ("insert", "upsert", "replace", "ignore")

#: Server errors that say nothing about the item: no longer primary, shutting down, no right
#: (any more), disk full, interrupted, write conflict, too many open cursors or locks, throttled.
_NOT_THE_ITEM = frozenset(
    {6, 7, 13, 18, 24, 50, 64, 79, 89, 91, 100, 112, 133, 189, 202, 262, 9001}
    | {10058, 10107, 11600, 11602, 13388, 13435, 13436, 14031, 16500, 8000}
)  # fmt: skip
_DUPLICATE_KEY = 11000
_BAD_URI = (
    "MONGO_URI does not parse: it must look like mongodb://user:password@host:27017/, special "
    "characters in user and password percent-encoded"
)
#: How often a unique key that another worker took at the same moment is tried again.
_RACES = 5


@dataclass(frozen=True)
class MongoOptions:
    """How to reach the server, and how to write. Time-outs in milliseconds."""

    uri: str = "mongodb://127.0.0.1:27017"
    database: str = "crawlo_db"
    mode: str = "upsert"
    key: Sequence[str] = ()
    write_concern: Mapping[str, Any] = field(default_factory=dict)
    client: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"MongoOptions(database={self.database!r}, mode={self.mode!r})"


@dataclass(frozen=True, slots=True)
class _Document:
    collection: str
    operation: Any


class MongoWriter(Writer):
    """Writes items to collections. Repeats change nothing, except in mode ``insert``.

    The key of an item is what `MongoOptions.key` names, for which a unique index is made;
    else its ``_id``; else its fingerprint, which becomes its ``_id``.
    """

    name = "mongodb"

    def __init__(self, options: MongoOptions, names: NameTemplate) -> None:
        if options.mode not in MODES:
            raise StorageError(f"the MongoDB mode is {options.mode!r}, not one of {MODES}")
        self._options = options
        # Repeats are wanted in mode insert: no index may refuse them.
        self._key = () if options.mode == "insert" else tuple(options.key)
        self._names = names
        self._client: AsyncMongoClient[dict[str, Any]] | None = None
        self._collections: dict[str, AsyncCollection[dict[str, Any]]] = {}
        self._max_size = 16 * 1024 * 1024

    async def open(self) -> None:
        try:
            import pymongo
            from bson.codec_options import CodecOptions, TypeRegistry
            from pymongo import AsyncMongoClient, errors
        except ImportError:
            raise StorageError(
                "the driver pymongo 4.9 or newer is missing: pip install 'crawlo_scrapy[mongodb]'"
            ) from None
        self._pymongo, self._errors = pymongo, errors
        registry = TypeRegistry(fallback_encoder=_known_to_bson)
        self._codec: CodecOptions[Any] = CodecOptions(type_registry=registry)
        options = self._options
        if options.uri.partition("?")[0].count("@") > 1:
            raise StorageError(_BAD_URI)
        try:
            self._client = AsyncMongoClient(options.uri, **options.client)
            hello = await self._client.admin.command("hello")
            self._max_size = int(hello.get("maxBsonObjectSize", self._max_size))
            await self._client[options.database].command("listCollections", nameOnly=True)
            for name in self._names.fixed():
                await self._collection(name)
        except (errors.PyMongoError, ValueError, TypeError) as exc:
            raise StorageError(self._why_not(exc)) from None
        except (StorageUnavailable, ItemRefused) as exc:
            raise StorageError(str(exc)) from None

    def _why_not(self, exc: Exception) -> str:
        code = getattr(exc, "code", None)
        if code == 18:
            return "MongoDB refused user or password: check MONGO_URI (and its authSource)"
        if code == 13:
            return f"MongoDB gives this user no right to database {self._options.database!r}: {exc}"
        if isinstance(exc, self._errors.ServerSelectionTimeoutError):
            first = str(exc).split(", Timeout:")[0].split(" (configured")[0]
            return f"no MongoDB answers at MONGO_URI's address: {first}"
        if isinstance(exc, self._errors.InvalidURI):
            return _BAD_URI  # its words may hold a part of the password
        if isinstance(exc, self._errors.PyMongoError):
            return f"MongoDB cannot be used with this configuration: {exc}"
        return f"MONGO_URI or a MONGO_ option is wrong: {exc}"

    async def prepare(self, fields: Mapping[str, Any], item_class: type) -> Row:
        import bson
        from bson.objectid import ObjectId
        from bson.raw_bson import RawBSONDocument

        document = dict(fields)
        for name in document:
            if name.startswith("$") or "." in name:
                raise ItemRefused(
                    f"its field {name!r} is one that MongoDB takes for an operator or a path"
                )
        collection = self._names.name(fields, item_class)
        chosen = {name: fields[name] for name in require(fields, self._key)}
        generated = not self._key and "_id" not in document
        if generated:
            insert = self._options.mode == "insert"
            document["_id"] = ObjectId() if insert else fingerprint(fields)
        if not self._key:
            chosen = {"_id": document["_id"]}
        try:
            raw = RawBSONDocument(bson.encode(document, codec_options=self._codec))
            # $eq: a value that is a dict must not be read as operators.
            key = bson.encode({n: {"$eq": v} for n, v in chosen.items()}, codec_options=self._codec)
        except (bson.errors.BSONError, OverflowError, RecursionError, ValueError) as exc:
            raise ItemRefused(f"it has no BSON form: {exc}") from None
        size = len(raw.raw)
        if size > self._max_size:
            raise ItemRefused(f"it has {size} bytes, MongoDB takes {self._max_size}")
        await self._collection(collection)
        operation = self._operation(raw, RawBSONDocument(key), generated)
        return Row(_Document(collection, operation), size)

    def _operation(self, raw: Any, key: Any, generated: bool) -> Any:
        from pymongo import InsertOne, ReplaceOne, UpdateOne

        # What has a generated _id is there already or not: an insert tells, and is the fastest.
        if generated or self._options.mode in ("insert", "ignore"):
            return InsertOne(raw)
        if self._options.mode == "replace":
            return ReplaceOne(key, raw, upsert=True)
        return UpdateOne(key, {"$set": raw}, upsert=True)

    async def write(self, rows: Sequence[Row]) -> None:
        places: dict[str, list[int]] = defaultdict(list)
        for place, row in enumerate(rows):
            places[row.payload.collection].append(place)
        reasons: dict[int, str] = {}
        for name, group in places.items():
            collection = await self._collection(name)
            operations = {place: rows[place].payload.operation for place in group}
            reasons |= await self._write_group(collection, operations)
        if reasons:
            raise RowsRefused(reasons)

    async def _write_group(
        self, collection: AsyncCollection[dict[str, Any]], operations: dict[int, Any]
    ) -> dict[int, str]:
        """Write *operations* unordered; return why some of them never can be, by their key."""
        reasons: dict[int, str] = {}
        for race in range(_RACES + 1):
            places = list(operations)
            try:
                await collection.bulk_write(list(operations.values()), ordered=False)
                return reasons
            except self._errors.BulkWriteError as exc:
                failed = self._failures(exc.details or {})
            except (self._errors.ConnectionFailure, self._errors.ExecutionTimeout) as exc:
                raise StorageUnavailable(str(exc)) from exc
            except self._errors.OperationFailure as exc:
                if exc.code in _NOT_THE_ITEM or exc.has_error_label("RetryableWriteError"):
                    raise StorageUnavailable(str(exc)) from exc
                raise
            again = {}
            for index, error in failed.items():
                place = places[index]
                if self._is_repeat(operations[place], error):
                    continue
                if race < _RACES and self._is_race(error):
                    again[place] = operations[place]
                else:
                    reasons[place] = str(error.get("errmsg", "no reason given"))
            if not again:
                return reasons
            operations = again
        return reasons

    @staticmethod
    def _failures(details: Mapping[str, Any]) -> dict[int, Mapping[str, Any]]:
        if details.get("writeConcernErrors"):
            reason = details["writeConcernErrors"][0].get("errmsg", "no reason given")
            raise StorageUnavailable(f"written, but not as safely as asked: {reason}")
        failed = {error["index"]: error for error in details.get("writeErrors", ())}
        for error in failed.values():
            if error.get("code") in _NOT_THE_ITEM:
                raise StorageUnavailable(str(error.get("errmsg", error["code"])))
        return failed

    def _is_repeat(self, operation: Any, error: Mapping[str, Any]) -> bool:
        """Tell whether the item is there already, which is what the mode wants."""
        if error.get("code") != _DUPLICATE_KEY:
            return False
        if self._options.mode == "ignore":
            return True
        return isinstance(operation, self._pymongo.InsertOne) and _key_of(error) == {"_id"}

    def _is_race(self, error: Mapping[str, Any]) -> bool:
        """Tell whether another worker inserted the same key between our look and our insert."""
        key = set(self._key) or {"_id"}
        return error.get("code") == _DUPLICATE_KEY and _key_of(error) == key

    async def _collection(self, name: str) -> AsyncCollection[dict[str, Any]]:
        """Return the collection, its index made."""
        found = self._collections.get(name)
        if found is not None:
            return found
        assert self._client is not None
        concern = self._pymongo.WriteConcern(**self._options.write_concern)
        try:
            database = self._client[self._options.database]
            collection = database.get_collection(
                name, write_concern=concern if self._options.write_concern else None
            )
            if self._key:
                index = [(field_name, 1) for field_name in self._key]
                await collection.create_index(index, unique=True)
        except self._errors.InvalidName as exc:
            raise ItemRefused(f"{name!r} is no name for a collection: {exc}") from None
        except self._errors.OperationFailure as exc:
            if exc.code in _NOT_THE_ITEM:
                raise StorageUnavailable(str(exc)) from exc
            raise ItemRefused(
                f"collection {name!r} has no unique index on {list(self._key)}, and it "
                f"cannot be made (are there duplicates already?): {exc}"
            ) from None
        except self._errors.ConnectionFailure as exc:
            raise StorageUnavailable(str(exc)) from exc
        self._collections[name] = collection
        return collection

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None


def _key_of(error: Mapping[str, Any]) -> set[str]:
    """Return the fields of the unique index that *error* is about."""
    pattern = error.get("keyPattern")
    if pattern:
        return set(pattern)
    return {"_id"} if "_id_" in str(error.get("errmsg", "")) else set()


def _known_to_bson(value: Any) -> Any:
    """Return the BSON type for a Python type that has none of its own."""
    import bson

    if isinstance(value, decimal.Decimal):
        return bson.Decimal128(value)
    if isinstance(value, dt.date):
        return dt.datetime(value.year, value.month, value.day)
    if isinstance(value, dt.time):
        return value.isoformat()
    if isinstance(value, dt.timedelta):
        return value.total_seconds()
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=repr)
    if isinstance(value, enum.Enum):
        return value.value
    return value
