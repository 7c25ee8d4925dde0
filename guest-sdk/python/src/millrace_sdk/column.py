"""Whole columns, as `@transform.columns` hands them over and takes them back.

    amount.values    memoryview of the numbers, as they lie: under a null, anything
    name.text        the whole column's text, name.offsets where each value begins in its bytes
    flag.valid       None, or a byte for each row: 1 where it is present
    list(name)       the values one by one, None for nulls
"""

from __future__ import annotations

from array import array
from typing import Any, Callable, Generic, Iterator, Sequence, TypeVar

from .columns import CODES, decode, numbers, pack_bits, unpack_bits
from .errors import Misfit
from .record import write_column
from .types import Shape, Slot, Type

T = TypeVar("T")


class Column(Generic[T]):
    """One column of a batch. Nothing is read before it is asked for."""

    __slots__ = ("type", "rows", "buffers")

    def __init__(self, kind: Type, rows: int, buffers: Sequence[bytes]) -> None:
        self.type, self.rows, self.buffers = kind, rows, list(buffers)

    def __len__(self) -> int:
        return self.rows

    def __iter__(self) -> Iterator[T]:
        return iter(self.tolist())

    def tolist(self) -> list[T]:
        """The values one by one, None for nulls."""
        return decode(self.type, iter(self.buffers), self.rows, _anything(self.type))[0]

    @property
    def valid(self) -> bytes | None:
        """None where no value is null; else a byte for each row: 1 where it is present."""
        return unpack_bits(self.buffers[0], self.rows) if self.buffers[0] else None

    @property
    def values(self) -> memoryview:
        """The numbers, as they lie."""
        self._need("values", self.type.name in CODES)
        return numbers(self.buffers[1], CODES[self.type.name], self.rows)

    @property
    def bits(self) -> bytes:
        """The booleans, as bytes of 0 and 1."""
        self._need("bits", self.type.name == "boolean")
        return unpack_bits(self.buffers[1], self.rows)

    @property
    def offsets(self) -> memoryview:
        """Where each value begins, in bytes or in items; one more than there are rows."""
        self._need("offsets", self.type.name in ("utf8", "binary", "list"))
        return numbers(self.buffers[1], "i", self.rows + 1, "offsets")

    @property
    def data(self) -> bytes:
        """The bytes of all values, one after the other."""
        self._need("data", self.type.name in ("utf8", "binary"))
        return self.buffers[2]

    @property
    def text(self) -> str:
        """The text of all values, one after the other. `offsets` cut its bytes: the text itself only in ASCII."""
        self._need("text", self.type.name == "utf8")
        return self.buffers[2].decode()

    @property
    def items(self) -> Column[Any]:
        """The items of all lists, one after the other."""
        self._need("items", self.type.item is not None)
        return Column(self.type.item, self.offsets[-1], self.buffers[2:])  # type: ignore[arg-type]

    def map_text(self, change: Callable[[str], str]) -> Column[str]:
        """The text with a change that works letter by letter, such as `str.lower`: on all of it at once where it is
        ASCII, else value by value."""
        if self.data.isascii():
            data = change(self.data.decode()).encode()
            if len(data) == len(self.data):
                return self._with([self.buffers[0], self.buffers[1], data])
        values = [None if value is None else change(value) for value in self.tolist()]
        shape = Shape(self.type, nullable=True)
        return self._with(write_column(Slot("text", shape), values, "map_text"))

    def lower(self) -> Column[str]:
        """The text in lower case."""
        return self.map_text(str.lower)

    def upper(self) -> Column[str]:
        """The text in upper case."""
        return self.map_text(str.upper)

    def __invert__(self) -> Column[bool]:
        """The booleans turned around."""
        self._need("~", self.type.name == "boolean")
        bits = self.buffers[1]
        turned = int.from_bytes(bits, "little") ^ ((1 << 8 * len(bits)) - 1)
        return self._with([self.buffers[0], turned.to_bytes(len(bits), "little")])

    def _with(self, buffers: Sequence[bytes]) -> Column[Any]:
        return Column(self.type, self.rows, buffers)

    def _need(self, what: str, there: bool) -> None:
        if not there:
            raise TypeError(f"a column of {self.type} has no {what}")


def _anything(kind: Type) -> Shape:
    return Shape(kind, True, _anything(kind.item) if kind.item else None)


class Text:
    """A column of text as it lies: all of it, and where each value begins in its bytes."""

    __slots__ = ("data", "offsets", "valid")

    def __init__(self, text: str | bytes, offsets: Sequence[int], valid: bytes | None = None) -> None:
        self.data = text.encode() if isinstance(text, str) else bytes(text)
        self.offsets, self.valid = array("i", offsets), valid
        if len(self.offsets) == 0 or self.offsets[0] != 0 or self.offsets[-1] != len(self.data):
            raise ValueError(f"offsets go from 0 to the {len(self.data)} bytes of the text")


def column_buffers(slot: Slot, given: Any, whose: str) -> tuple[int, list[bytes]]:
    """A column that the author returns: how many values it has, and its buffers."""
    name = slot.shape.type.name
    if isinstance(given, Column) and given.type == slot.shape.type:
        if given.buffers[0] and not slot.shape.nullable and 0 in (given.valid or b""):
            raise Misfit(f"{whose}: column `{slot.name}` ({slot.shape}) holds a null, and is not declared `| None`")
        return len(given), list(given.buffers)
    if isinstance(given, Text) and name == "utf8":
        validity = b"" if given.valid is None else pack_bits(given.valid)
        if given.valid is not None and not slot.shape.nullable and 0 in given.valid:
            raise Misfit(f"{whose}: column `{slot.name}` ({slot.shape}) holds a null, and is not declared `| None`")
        return len(given.offsets) - 1, [validity, given.offsets.tobytes(), given.data]
    if isinstance(given, array) and given.typecode == CODES.get(name):
        return len(given), [b"", given.tobytes()]
    if isinstance(given, memoryview) and given.format == CODES.get(name) and given.contiguous:
        return len(given), [b"", bytes(given)]
    try:
        values = given if isinstance(given, (list, tuple)) else list(given)
    except TypeError:
        raise Misfit(f"{whose}: column `{slot.name}` is a {type(given).__name__}, and no values") from None
    return len(values), write_column(slot, values, whose)
