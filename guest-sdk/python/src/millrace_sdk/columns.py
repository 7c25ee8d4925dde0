"""A column's buffers as Python's values and back, a whole column at a time.

Buffers are Arrow's, little-endian. Numbers go through `memoryview.cast` and `array`, text through one `decode` of the
whole column where it is ASCII: what happens once a value happens in the interpreter's own loops.
"""

from __future__ import annotations

from array import array
from itertools import accumulate, chain, compress
from typing import Any, Iterable, Iterator, Sequence

from .errors import Misfit
from .types import Shape, Type

# The codes of `array` and `memoryview`. Not `l`, which is 4 bytes here and 8 there.
CODES = {"int32": "i", "int64": "q", "float32": "f", "float64": "d", "timestamp": "q"}

_BITS = [bytes(byte >> bit & 1 for bit in range(8)) for byte in range(256)]
_BOOLS = [tuple(map(bool, bits)) for bits in _BITS]
_DIGITS = bytes([48, 49]) + b"?" * 254
_FLIPPED = bytes([1, 0]) + bytes(254)


def unpack_bits(buffer: bytes, rows: int) -> bytes:
    """Bits as bytes of 0 and 1."""
    return b"".join(map(_BITS.__getitem__, buffer))[:rows]


def pack_bits(flags: bytes) -> bytes:
    """Bytes of 0 and 1 as bits, the first the least significant."""
    if not flags:
        return b""
    return int(flags[::-1].translate(_DIGITS), 2).to_bytes((len(flags) + 7) // 8, "little")


def _sized(buffer: bytes, wanted: int, what: str) -> None:
    if len(buffer) < wanted:
        raise Misfit(f"its {what} buffer has {len(buffer)} bytes where {wanted} belong")


def numbers(buffer: bytes, code: str, rows: int, what: str = "values") -> memoryview:
    """A buffer's numbers, as they lie."""
    view = memoryview(buffer)
    width = 4 if code in "if" else 8
    if len(view) != rows * width:
        _sized(buffer, rows * width, what)
        view = view[: rows * width]
    return view.cast(code)


def decode(kind: Type, buffers: Iterator[bytes], rows: int, shape: Shape) -> tuple[list[Any], bytes | None]:
    """A column's values, None for nulls; and, where the shape has no place for some of them, a byte for each row that
    is 1 where it has."""
    validity = next(buffers)
    values, fits = _decode_values(kind, buffers, rows, shape)
    if validity:
        _sized(validity, (rows + 7) // 8, "validity")
        valid = unpack_bits(validity, rows)
        if 0 in valid:
            values = [value if present else None for value, present in zip(values, valid)]
            if not shape.nullable:
                fits = valid if fits is None else bytes(map(min, fits, valid))
            elif fits is not None:  # what lies under a null is nobody's business
                fits = bytes(fit or not present for fit, present in zip(fits, valid))
    return values, fits


def _decode_values(kind: Type, buffers: Iterator[bytes], rows: int, shape: Shape) -> tuple[list[Any], bytes | None]:
    if kind.item:
        offsets = numbers(next(buffers), "i", rows + 1, "offsets").tolist()
        items, fit = decode(kind.item, buffers, offsets[-1], shape.item or Shape(kind.item, True))
        values = [items[start:end] for start, end in zip(offsets, offsets[1:])]
        if fit is None:
            return values, None
        return values, bytes(0 not in fit[start:end] for start, end in zip(offsets, offsets[1:]))
    if kind.name == "boolean":
        buffer = next(buffers)
        _sized(buffer, (rows + 7) // 8, "values")
        return list(chain.from_iterable(map(_BOOLS.__getitem__, buffer)))[:rows], None
    if kind.name in CODES:
        return numbers(next(buffers), CODES[kind.name], rows).tolist(), None
    offsets = numbers(next(buffers), "i", rows + 1, "offsets").tolist()
    data: Any = next(buffers)
    _sized(data, offsets[-1], "values")
    if kind.name == "binary":
        return [data[start:end] for start, end in zip(offsets, offsets[1:])], None
    if data.isascii():
        # In ASCII bytes are letters, so that the offsets cut the text as well.
        data = data.decode()
        return [data[start:end] for start, end in zip(offsets, offsets[1:])], None
    return [data[start:end].decode() for start, end in zip(offsets, offsets[1:])], None


_FILLERS = {"boolean": False, "utf8": "", "binary": b"", "float32": 0.0, "float64": 0.0}


def encode(shape: Shape, values: Sequence[Any]) -> list[bytes]:
    """A column's buffers."""
    try:
        return [b"", *_encode_values(shape, values)]
    except TypeError:
        # Most columns have no null, so that none is looked for until it is in the way.
        if None not in values:
            raise
    valid = bytes(value is not None for value in values)
    if not shape.nullable:
        raise Misfit(f"it is None in row {valid.index(0)}, and not declared `| None`")
    filler = () if shape.type.item else _FILLERS.get(shape.type.name, 0)
    filled = [filler if value is None else value for value in values]
    return [pack_bits(valid), *_encode_values(shape, filled)]


def _offsets(lengths: Iterable[int]) -> bytes:
    try:
        return array("i", accumulate(lengths, initial=0)).tobytes()
    except OverflowError:
        raise Misfit("it has more than 2 GiB in one batch") from None


def _encode_values(shape: Shape, values: Sequence[Any]) -> list[bytes]:
    name = shape.type.name
    if name in CODES:
        return [array(CODES[name], values).tobytes()]
    if name == "utf8":
        joined = "".join(values)
        data = joined.encode()
        lengths = map(len, values) if len(data) == len(joined) else (len(value.encode()) for value in values)
        return [_offsets(lengths), data]
    if name == "boolean":
        try:
            return [pack_bits(bytes(values))]
        except ValueError:
            raise Misfit("it has values that are neither True nor False") from None
    if name == "binary":
        return [_offsets(map(len, values)), b"".join(values)]
    kinds = set(map(type, values))
    if str in kinds or bytes in kinds:
        raise Misfit(f"it has a {'str' if str in kinds else 'bytes'} where a list belongs")
    offsets = _offsets(map(len, values))
    return [offsets, *encode(shape.item, list(chain.from_iterable(values)))]


def keep(values: Iterable[Any], flags: bytes) -> list[Any]:
    """The values whose flag is 1."""
    return list(compress(values, flags))
