"""Rows as dataclasses: read from columns, written to columns, a column at a time."""

from __future__ import annotations

from operator import attrgetter
from typing import Any, Iterator, NamedTuple, Sequence

from . import messagepack
from .columns import decode, encode, keep
from .errors import Misfit, describe
from .types import Shape, Slot, Type


class Rows(NamedTuple):
    """The rows of a batch that may be read: their numbers, their columns' values, and why the others are refused."""

    numbers: Sequence[int]
    columns: list[list[Any]]
    refused: list[tuple[int, str]]


def decode_columns(
    slots: Sequence[Slot], given: Sequence[Type], columns: Sequence[Sequence[bytes]], rows: int
) -> list[tuple[list[Any], bytes | None]]:
    """Each column's values, and which rows have one that fits."""
    if len(columns) != len(slots):
        raise Misfit(f"{len(columns)} columns where {len(slots)} were asked for")
    found = []
    for slot, kind, buffers in zip(slots, given, columns):
        if len(buffers) != kind.buffers:
            raise Misfit(f"column `{slot.name}`: {len(buffers)} buffers where {kind} has {kind.buffers}")
        try:
            found.append(decode(kind, iter(buffers), rows, slot.shape))
        except Misfit as misfit:
            raise Misfit(f"column `{slot.name}`: {misfit}") from None
        except (ValueError, IndexError) as error:
            raise Misfit(f"column `{slot.name}`: {error}") from None
    return found


def read_rows(slots: Sequence[Slot], given: Sequence[Type], columns: Sequence[Sequence[bytes]], rows: int) -> Rows:
    """A batch's rows, without those that hold a null where there is no place for one."""
    decoded = decode_columns(slots, given, columns, rows)
    values = [column for column, _ in decoded]
    misfits = [(slot.name, fits) for slot, (_, fits) in zip(slots, decoded) if fits is not None and 0 in fits]
    if not misfits:
        return Rows(range(rows), values, [])
    refused, flags = [], bytearray(b"\1" * rows)
    for row in range(rows):
        name = next((name for name, fits in misfits if not fits[row]), None)
        if name is not None:
            flags[row] = 0
            refused.append((row, f"`{name}` is null, or holds a null"))
    return Rows(keep(range(rows), flags), [keep(column, flags) for column in values], refused)


def instances(record: type, columns: Sequence[Sequence[Any]], rows: int) -> Iterator[Any]:
    """The rows as objects, made one after the other."""
    return map(record, *columns) if columns else (record() for _ in range(rows))


def write_column(slot: Slot, values: Sequence[Any], whose: str) -> list[bytes]:
    """One column's buffers; `whose` says who gave the values, for errors."""
    try:
        return encode(slot.shape, values)
    except Exception as error:  # whatever is in the values comes from the author
        raise Misfit(f"{whose}: column `{slot.name}` ({slot.shape}): {describe(error)}") from None


def write_rows(slots: Sequence[Slot], objects: Sequence[Any], whose: str) -> list[list[bytes]]:
    """The columns of objects that have the columns' names as attributes."""
    return [write_column(slot, list(map(attrgetter(slot.name), objects)), whose) for slot in slots]


class Packed(NamedTuple):
    """A field that is packed into a column of bytes, and what makes it of what is unpacked."""

    name: str
    read: Any


BINARY = Shape(Type("binary"))


def unpack_column(packed: Packed, values: list[Any]) -> list[Any]:
    """A packed column's values."""
    unpacked = map(messagepack.unpack, values)
    return list(map(packed.read, unpacked)) if packed.read else list(unpacked)
