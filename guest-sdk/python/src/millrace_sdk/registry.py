"""What the author's module defines, in its order: what the component holds."""

from __future__ import annotations

from typing import Any

HELD: list[Any] = []


def add(target: Any, entry: Any) -> Any:
    """Remembers an entry, also on what it was made of."""
    target.__millrace__ = entry
    HELD.append(entry)
    return target


def entry_of(target: Any, kind: str) -> Any:
    """The entry of a decorated function or class."""
    entry = getattr(target, "__millrace__", None)
    if entry is None or entry.kind != kind:
        raise TypeError(f"{getattr(target, '__name__', target)} is no {kind}: write @{kind} before it")
    return entry


def held(kind: str) -> list[Any]:
    """The entries of one kind."""
    return [entry for entry in HELD if entry.kind == kind]
