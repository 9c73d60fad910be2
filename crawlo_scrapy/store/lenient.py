"""What stands in Redis, read by those who only show it: it must not fail over what others wrote."""

from __future__ import annotations


def whole(value: bytes | str | float | None) -> int:
    """Return a number as a whole one; 0 for what is none, or has no end."""
    try:
        number = float(value or 0)
    except (TypeError, ValueError, OverflowError):
        return 0
    return int(number) if abs(number) < 2**63 else 0


def text(value: bytes | None) -> str:
    """Return bytes as text, whatever they are."""
    return (value or b"").decode(errors="replace")
