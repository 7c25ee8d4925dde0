"""The types that a column can have, and which of them an annotation means.

An author annotates with Python's own types: `float`, `str | None`, `list[int]`. What Python has no word for is a type of
its own that costs nothing at run time: an `Int32` is an `int`, a `Timestamp` the microseconds since 1970 in UTC.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any, NamedTuple, NewType

Timestamp = NewType("Timestamp", int)
"""A moment: microseconds since 1970 in UTC."""

Int32 = NewType("Int32", int)
"""A whole number of 32 bits, where a plain `int` has 64."""

Float32 = NewType("Float32", float)
"""A float of 32 bits, where a plain `float` has 64."""

EARLIEST = Timestamp(-(2**63))
"""Before all other moments: the time of nothing yet."""


class Window(NamedTuple):
    """The stretch of time that a feature is asked for: [since, until). For `over` both are the row's time; at request
    time `until` is the request's."""

    since: Timestamp
    until: Timestamp


class Type(NamedTuple):
    """A column's type, by its name in the project file; a list's has the type of its items."""

    name: str
    item: Type | None = None

    def __str__(self) -> str:
        return f"list<{self.item}>" if self.item else self.name

    @property
    def format(self) -> str:
        """The contract's format string."""
        return f"+l<{self.item.format}>" if self.item else FORMATS[self.name]

    @property
    def buffers(self) -> int:
        """How many buffers a column of this type has."""
        if self.item:
            return 2 + self.item.buffers
        return 3 if self.name in ("utf8", "binary") else 2


FORMATS = {
    "boolean": "b",
    "int32": "i",
    "int64": "l",
    "float32": "f",
    "float64": "g",
    "timestamp": "tsu:UTC",
    "utf8": "u",
    "binary": "z",
}
NAMES = {format: name for name, format in FORMATS.items()}

# How deep lists may be nested.
MAX_DEPTH = 8


def _nested(text: str, prefix: str, known: dict[str, str]) -> Type | None:
    depth = 0
    while text.startswith(prefix) and text.endswith(">") and depth <= MAX_DEPTH:
        text, depth = text[len(prefix) : -1], depth + 1
    if text not in known or depth > MAX_DEPTH:
        return None
    found = Type(known[text])
    for _ in range(depth):
        found = Type("list", found)
    return found


def from_format(text: str) -> Type | None:
    """The type that a format string of the contract names; none if it is not one of those above."""
    return _nested(text, "+l<", NAMES)


def parse(text: str) -> Type | None:
    """The type as a project file writes it: `int64`, `list<utf8>`."""
    return _nested(text, "list<", {name: name for name in FORMATS})


class Shape(NamedTuple):
    """What a field may hold: a type, perhaps a null, and the same of its items. A field that no column fits is packed
    into one of bytes, and `packed` is its annotation."""

    type: Type
    nullable: bool = False
    item: Shape | None = None
    packed: Any = None

    def __str__(self) -> str:
        return f"{self.type}?" if self.nullable else str(self.type)


class Slot(NamedTuple):
    """A column by its name."""

    name: str
    shape: Shape


PLAIN = {
    bool: "boolean",
    int: "int64",
    Int32: "int32",
    float: "float64",
    Float32: "float32",
    Timestamp: "timestamp",
    str: "utf8",
    bytes: "binary",
}

WORDS = "bool, int, Int32, float, Float32, Timestamp, str, bytes, list[…] of these, each perhaps `| None`"


def without_none(hint: Any) -> tuple[Any, bool]:
    """An annotation without its `| None`, and whether it had one."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        others = [part for part in typing.get_args(hint) if part is not type(None)]
        if len(others) < len(typing.get_args(hint)):
            return (others[0] if len(others) == 1 else typing.Union[tuple(others)]), True
    return hint, False


def shape_of(hint: Any) -> Shape | None:
    """The shape that an annotation means; none if no column has it."""
    hint, nullable = without_none(hint)
    if typing.get_origin(hint) is list:
        item = shape_of(typing.get_args(hint)[0])
        return Shape(Type("list", item.type), nullable, item) if item else None
    try:
        name = PLAIN.get(hint)
    except TypeError:  # an annotation that cannot be looked up is none of ours
        name = None
    return Shape(Type(name), nullable) if name else None


def words_of(hint: Any) -> str:
    """An annotation as it was written, more or less."""
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)


def slots_of(record: type, whose: str) -> list[Slot]:
    """The columns that a dataclass names."""
    if not (isinstance(record, type) and dataclasses.is_dataclass(record)):
        raise TypeError(f"{whose} is {words_of(record)}, and has to be a dataclass: write @dataclass before it")
    hints = typing.get_type_hints(record)
    slots = []
    for field in dataclasses.fields(record):
        shape = shape_of(hints[field.name])
        if shape is None:
            what = words_of(hints[field.name])
            raise TypeError(f"{record.__qualname__}.{field.name} is {what}, which no column can be: use {WORDS}")
        slots.append(Slot(field.name, shape))
    return slots
