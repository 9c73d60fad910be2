"""A log file that is one process's own, and that grows no larger than it should."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count
from logging import LogRecord
from logging.handlers import RotatingFileHandler
from typing import Any

#: Files that this process may write to, by process and wish; with the descriptor of the lock.
_claims: dict[tuple[int, str], tuple[str, int | None]] = {}


def claim(path: str, node: str, *, fresh: bool = False) -> str:
    """Return the file that this process writes to until it ends, and no other process does.

    That is *path*, or when another process has it, a name with *node* in it beside it. With
    *fresh* it is empty. Asked again, the answer is the same and the file is left as it is.
    The folder must be there. Raises OSError when the file cannot be emptied.
    """
    key = _key(path)
    if key not in _claims:
        found = _free(path, node)
        if fresh:
            open(found[0], "wb").close()
        _claims[key] = _claims[_key(found[0])] = found
    return _claims[key][0]


def _key(path: str) -> tuple[int, str]:
    # By process: a forked child inherits the claims, and not the right to rotate.
    return os.getpid(), os.path.abspath(path)


def _free(path: str, node: str) -> tuple[str, int | None]:
    for number, name in enumerate(_names(path, node)):
        try:
            return name, _lock(name)
        except BlockingIOError:
            continue
        except (OSError, ImportError):
            # No locks on this system, or somebody else's lock file: a name with the node's in
            # it is as good as its own.
            if number:
                return name, None
    raise AssertionError("names do not end")


def _names(path: str, node: str) -> Iterator[str]:
    yield path
    stem, ending = os.path.splitext(path)
    own = f"{stem}-{node.replace(os.sep, '_')}"
    yield own + ending
    yield from (f"{own}~{number}{ending}" for number in count(2))


def _lock(path: str) -> int:
    """Return the descriptor that holds the lock. Raises BlockingIOError when another has it.

    The lock is on a file beside the log, because the log is renamed when it is rotated. It
    stays there: whoever removes it could remove the one that the next worker has just locked.
    """
    import fcntl  # not everywhere

    folder, name = os.path.split(path)
    file = os.open(os.path.join(folder, f".{name}.lock"), os.O_RDONLY | os.O_CREAT, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        raise
    return file


class RotatingLog(RotatingFileHandler):
    """A `RotatingFileHandler` that only the process which opened it rotates."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._owner = os.getpid()
        super().__init__(*args, **kwargs)

    def shouldRollover(self, record: LogRecord) -> bool:
        # A forked child writes to the same file, and must not rename it under its parent.
        return os.getpid() == self._owner and bool(super().shouldRollover(record))
