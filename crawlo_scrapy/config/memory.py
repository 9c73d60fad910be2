"""How much memory this process may use: the machine's, or the container's if that is less."""

from __future__ import annotations

from pathlib import Path

_MB = 2**20


def total_memory_mb(root: Path = Path("/")) -> int:
    """Return megabytes. 0 where the system does not say."""
    limits = [limit for limit in (_machine(root), *_cgroups(root)) if limit]
    return min(limits, default=0) // _MB


def container_limit_mb(root: Path = Path("/")) -> int:
    """Return megabytes. 0 where no container's limit is below the machine's memory."""
    machine = _machine(root)
    limit = min((limit for limit in _cgroups(root) if limit), default=0)
    return limit // _MB if limit and (not machine or limit < machine) else 0


def _machine(root: Path) -> int:
    try:
        for line in (root / "proc/meminfo").read_text().splitlines():
            if line.startswith("MemTotal:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def _cgroups(root: Path) -> list[int]:
    """The limits of the control groups that this process is in, version 2 and 1."""
    places = [
        root / "sys/fs/cgroup/memory.max",
        root / "sys/fs/cgroup/memory/memory.limit_in_bytes",
    ]
    try:
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            number, _, path = line.split(":", 2)
            if number == "0":
                group = Path(path.lstrip("/"))
                places += [
                    root / "sys/fs/cgroup" / part / "memory.max" for part in (group, *group.parents)
                ]
    except (OSError, ValueError):
        pass
    return [limit for place in places if (limit := _number(place))]


def _number(place: Path) -> int:
    try:
        text = place.read_text().strip()
    except OSError:
        return 0
    return int(text) if text.isdigit() else 0
