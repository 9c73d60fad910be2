"""Files of items: whole lines, shared by many writers, torn ends mended."""

from __future__ import annotations

import csv
import errno
import json
import multiprocessing
import os
import signal

import pytest

from crawlo_scrapy.pipelines import append_file
from crawlo_scrapy.pipelines.append_file import AppendFile
from crawlo_scrapy.pipelines.dead_items import DeadItem, DeadItemsFile
from crawlo_scrapy.pipelines.errors import StorageError
from crawlo_scrapy.pipelines.jsonlines import CsvWriter, JsonLinesWriter
from tests.pipelines.storing import Watch, store, store_in


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_a_batch_is_one_write(tmp_path, monkeypatch):
    writes = []
    real = os.write
    monkeypatch.setattr(
        append_file.os, "write", lambda fd, data: writes.append(bytes(data)) or real(fd, data)
    )
    path = tmp_path / "new" / "items.jsonl"
    assert await store(JsonLinesWriter(path), *({"n": i} for i in range(100))) == [None] * 100
    assert lines(path) == [{"n": i} for i in range(100)]
    assert len(writes) == 1


async def test_refused_items_leave_no_trace(tmp_path):
    path = tmp_path / "items.jsonl"
    reasons = await store(JsonLinesWriter(path), {"n": 1}, {"n": float("nan")}, {"n": 2})
    assert [reason is None for reason in reasons] == [True, False, True]
    assert lines(path) == [{"n": 1}, {"n": 2}]


@pytest.mark.parametrize("torn", [b'{"n": ', b"x" * 200_000])
def test_half_a_line_of_a_dead_writer_is_taken_away(tmp_path, torn):
    path = tmp_path / "items.jsonl"
    path.write_bytes(b'{"n":1}\n' + torn)
    AppendFile(path).append(b'{"n":2}\n')
    assert lines(path) == [{"n": 1}, {"n": 2}]
    path.write_bytes(torn)
    AppendFile(path).append(b'{"n":2}\n')
    assert lines(path) == [{"n": 2}]


async def test_a_full_disk_is_waited_out(tmp_path, monkeypatch):
    full, real, watch = [True], os.write, Watch()

    def write(fd, data):
        if full[0]:
            if len(data) > 5:
                return real(fd, data[:5])
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, data)

    monkeypatch.setattr(append_file.os, "write", write)
    path = tmp_path / "items.jsonl"
    path.write_bytes(b'{"n":0}\n')
    monkeypatch.setattr(watch, "away", lambda error, delay: full.clear() or full.append(False))
    writer = JsonLinesWriter(path)
    await store(writer, {"n": 1}, {"n": 2}, watch=watch)
    assert lines(path) == [{"n": 0}, {"n": 1}, {"n": 2}]


def test_a_file_that_was_moved_away_is_begun_anew(tmp_path):
    path = tmp_path / "items.jsonl"
    file = AppendFile(path)
    file.append(b"1\n")
    path.rename(tmp_path / "old")
    file.append(b"2\n")
    file.close()
    assert (path.read_bytes(), (tmp_path / "old").read_bytes()) == (b"2\n", b"1\n")


def _append(path, number, go):
    go.wait()
    file = AppendFile(path)
    for i in range(200):
        file.append(json.dumps({"writer": number, "i": i, "pad": "x" * 500}).encode() + b"\n")


def test_many_processes_share_a_file(tmp_path):
    path = tmp_path / "items.jsonl"
    context = multiprocessing.get_context("spawn")
    go = context.Event()
    workers = [context.Process(target=_append, args=(path, n, go)) for n in range(3)]
    for worker in workers:
        worker.start()
    go.set()
    for worker in workers:
        worker.join()
    found = [(line["writer"], line["i"]) for line in lines(path)]
    assert sorted(found) == [(n, i) for n in range(3) for i in range(200)]


def _append_for_ever(path):
    file = AppendFile(path)
    block = b"".join(b'{"i":%d}\n' % i for i in range(20_000))
    while True:
        file.append(block)


@pytest.mark.slow
def test_a_killed_writer_leaves_a_file_that_others_can_write_on(tmp_path):
    path = tmp_path / "items.jsonl"
    context = multiprocessing.get_context("spawn")
    for _ in range(3):
        size = path.stat().st_size if path.exists() else 0
        worker = context.Process(target=_append_for_ever, args=(path,))
        worker.start()
        while not path.exists() or path.stat().st_size < size + 2_000_000:
            assert worker.is_alive()
        os.kill(worker.pid, signal.SIGKILL)
        worker.join()
        AppendFile(path).append(b'{"i":-1}\n')
    assert sum(line["i"] == -1 for line in lines(path)) == 3


async def test_a_path_that_cannot_be_written_is_an_error_at_the_start(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot write items to .*file/items.jsonl: "):
        await JsonLinesWriter(tmp_path / "file" / "items.jsonl").open()


def rows(path, **style):
    with path.open(newline="") as file:
        return list(csv.reader(file, **style))


async def test_csv(tmp_path):
    path = tmp_path / "items.csv"
    hostile = {"name": 'a"b,c\nd', "tags": ["x", {"y": 1}], "none": None}
    reasons = await store(CsvWriter(path), hostile, {"name": "é🕷"}, {"other": 1})
    assert reasons[:2] == [None, None]
    assert "has no column 'other'" in reasons[2]
    await store(CsvWriter(path), {"tags": "t", "name": "n"})  # another run, another order
    assert rows(path) == [
        ["name", "tags", "none"],
        ['a"b,c\nd', '["x",{"y":1}]', ""],
        ["é🕷", "", ""],
        ["n", "t", ""],
    ]


async def test_csv_writers_agree_on_the_columns(tmp_path):
    path = tmp_path / "items.csv"
    one, two = CsvWriter(path), CsvWriter(path)
    for writer in (one, two):
        await writer.open()
    await store_in(one, {"a": 1, "b": 2})
    await store_in(two, {"b": 4, "a": 3})
    for writer in (one, two):
        await writer.close()
    assert rows(path) == [["a", "b"], ["1", "2"], ["3", "4"]]


async def test_csv_options(tmp_path):
    path = tmp_path / "items.csv"
    writer = CsvWriter(path, columns=["b", "a"], delimiter=";", quotechar="'", header=False)
    await store(writer, {"a": "x;'", "b": 1})
    assert rows(path, delimiter=";", quotechar="'") == [["1", "x;'"]]
    path.write_text("a,c\n")
    with pytest.raises(StorageError, match="has the columns"):
        await CsvWriter(path, columns=["a", "b"]).open()


def test_csv_torn_inside_of_quotes(tmp_path):
    path = tmp_path / "items.csv"
    path.write_bytes(b'a,b\n1,"x\ny"\n2,"torn\nhere')
    writer = CsvWriter(path)
    writer.file.append(b"3,z\n")
    assert rows(path) == [["a", "b"], ["1", "x\ny"], ["3", "z"]]


async def test_dead_items_are_kept_whatever_they_hold(tmp_path):
    circle: dict = {"nan": float("nan"), "bytes": b"\xff", "text": "\ud800", "f": print}
    circle["self"] = circle
    sink = DeadItemsFile(tmp_path / "dead.jsonl")
    await sink.put(DeadItem("mysql", "why", "shop.Item", circle, "shop", "n1"))
    await sink.close()
    [line] = lines(tmp_path / "dead.jsonl")
    assert (line["storage"], line["reason"], line["fields"]["nan"]) == ("mysql", "why", "nan")
