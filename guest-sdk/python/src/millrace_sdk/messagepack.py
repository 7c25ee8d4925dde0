"""What no column fits, as one column of bytes: MessagePack in its one canonical form.

Each number in its shortest form, floats as 64 bits, the keys of a map sorted, and the members of a set: numbers by size,
texts by their UTF-8 bytes, and so on. So equal states are equal bytes, in whatever order they came about. The format is
that of https://github.com/msgpack/msgpack/blob/master/spec.md, without extensions.
"""

from __future__ import annotations

import collections
import dataclasses
import struct
import typing
from typing import Any, Callable

from .errors import Misfit
from .types import without_none, words_of

_FLOAT = struct.Struct(">d")

# The bytes of the number that follows a code: of an integer itself, of the others their length.
_WIDTHS = dict(
    [(0xC4 + index, 1 << index) for index in range(3)]
    + [(0xCC + index, 1 << index) for index in range(4)]
    + [(0xD0 + index, 1 << index) for index in range(4)]
    + [(0xD9 + index, 1 << index) for index in range(3)]
    + [(code, 2 << (code & 1)) for code in range(0xDC, 0xE0)]
)


def pack(value: Any) -> bytes:
    """The bytes of a value of plain Python types, dataclasses among them."""
    parts: list[bytes] = []
    _pack(value, parts.append)
    return b"".join(parts)


def _pack(value: Any, put: Callable[[bytes], None]) -> None:
    kind = type(value)
    if kind is str:
        data = value.encode()
        put(_head(len(data), 0xA0, 31, b"\xd9\xda\xdb"))
        put(data)
    elif kind is int:
        put(_integer(value))
    elif kind is float:
        put(b"\xcb" + _FLOAT.pack(value))
    elif value is None:
        put(b"\xc0")
    elif kind is bool:
        put(b"\xc3" if value else b"\xc2")
    elif isinstance(value, (bytes, bytearray, memoryview)):
        put(_head(len(value), None, -1, b"\xc4\xc5\xc6"))
        put(bytes(value))
    elif isinstance(value, dict):
        put(_head(len(value), 0x80, 15, b"\xde\xdf"))
        for key in _ordered(value):
            _pack(key, put)
            _pack(value[key], put)
    elif isinstance(value, (set, frozenset)):
        _pack(list(_ordered(value)), put)
    elif isinstance(value, (list, tuple, collections.deque)):
        put(_head(len(value), 0x90, 15, b"\xdc\xdd"))
        for item in value:
            _pack(item, put)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        _pack([getattr(value, field.name) for field in dataclasses.fields(value)], put)
    elif isinstance(value, (str, int, float)):  # a class of these, such as an IntEnum
        base = next(base for base in (bool, int, float, str) if isinstance(value, base))
        _pack(base(value), put)
    else:
        raise Misfit(f"a value of {kind.__name__} cannot be kept in a state")


def _ordered(keys: Any) -> list[Any]:
    """Keys in the one order: in which Python's own, where they are all alike, is that of UTF-8 too."""
    try:
        if {*map(type, keys)} <= {str}:
            return sorted(keys)
        return sorted(keys, key=_rank)
    except TypeError as error:
        raise Misfit(f"keys that have no order: {error}") from None


def _rank(key: Any) -> tuple[int, Any]:
    if isinstance(key, (bool, int, float)):
        return (0 if isinstance(key, bool) else 1), key
    if isinstance(key, str):
        return 2, key
    if isinstance(key, bytes):
        return 3, key
    if isinstance(key, tuple):
        return 4, tuple(map(_rank, key))
    return (-1, 0) if key is None else (5, pack(key))


def _head(length: int, fix: int | None, most: int, wide: bytes) -> bytes:
    if fix is not None and length <= most:
        return bytes([fix | length])
    widths = {3: (1, 2, 4), 2: (2, 4)}[len(wide)]
    for code, width in zip(wide, widths):
        if length < 1 << 8 * width:
            return bytes([code]) + length.to_bytes(width, "big")
    raise Misfit("a value longer than 4 GiB cannot be kept in a state")


def _integer(value: int) -> bytes:
    if -32 <= value < 128:
        return (value & 0xFF).to_bytes(1, "big")
    for index, width in enumerate((1, 2, 4, 8)):
        if 0 <= value < 1 << 8 * width:
            return bytes([0xCC + index]) + value.to_bytes(width, "big")
        if value < 0 and value >= -(1 << 8 * width - 1):
            return bytes([0xD0 + index]) + value.to_bytes(width, "big", signed=True)
    raise Misfit(f"{value} does not fit into 64 bits")


def unpack(data: bytes) -> Any:
    """The value of some bytes: dicts, lists and plain values."""
    try:
        value, end = _unpack(data, 0)
    except (IndexError, struct.error):
        raise Misfit("packed bytes end too early") from None
    if end != len(data):
        raise Misfit("packed bytes go on after their value")
    return value


def _unpack(data: bytes, at: int) -> tuple[Any, int]:
    code = data[at]
    at += 1
    if code < 0x80:
        return code, at
    if code >= 0xE0:
        return code - 256, at
    if code < 0x90:
        return _unpack_map(data, at, code & 15)
    if code < 0xA0:
        return _unpack_list(data, at, code & 15)
    if code < 0xC0:
        return _unpack_bytes(data, at, code & 31, True)
    if code in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[code], at
    if code == 0xCB:
        return _FLOAT.unpack_from(data, at)[0], at + 8
    if code == 0xCA:
        return struct.unpack_from(">f", data, at)[0], at + 4
    width = _WIDTHS.get(code)
    if width is None:
        raise Misfit(f"packed bytes hold the code {code:#x}, which is none of ours")
    if at + width > len(data):
        raise Misfit("packed bytes end too early")
    number = int.from_bytes(data[at : at + width], "big", signed=0xD0 <= code <= 0xD3)
    at += width
    if code >= 0xDE:
        return _unpack_map(data, at, number)
    if code >= 0xDC:
        return _unpack_list(data, at, number)
    if code >= 0xD9:
        return _unpack_bytes(data, at, number, True)
    if code <= 0xC6:
        return _unpack_bytes(data, at, number, False)
    return number, at


def _unpack_bytes(data: bytes, at: int, length: int, text: bool) -> tuple[Any, int]:
    piece = data[at : at + length]
    if len(piece) != length:
        raise Misfit("packed bytes end too early")
    return (piece.decode() if text else piece), at + length


def _unpack_list(data: bytes, at: int, length: int) -> tuple[list[Any], int]:
    items = []
    for _ in range(length):
        item, at = _unpack(data, at)
        items.append(item)
    return items, at


def _unpack_map(data: bytes, at: int, length: int) -> tuple[dict[Any, Any], int]:
    found = {}
    for _ in range(length):
        key, at = _unpack(data, at)
        found[tuple(key) if isinstance(key, list) else key], at = _unpack(data, at)
    return found, at


_SEQUENCES = {list, set, frozenset, collections.deque}
_MAPS = (dict, collections.Counter, collections.OrderedDict)
_SCALARS = (bool, int, float, str, bytes, type(None), Any)


def reader_of(hint: Any) -> Callable[[Any], Any] | None:
    """What makes the value of an annotation of what `unpack` gives; None where it is that already. Annotations that
    could not be read back are refused here, when the author's module is loaded."""
    hint, nullable = without_none(hint)
    hint = getattr(hint, "__supertype__", hint)
    if hint in _SCALARS:
        return None
    made = _reader(hint)
    if made is None or not nullable:
        return made
    return lambda value: None if value is None else made(value)


def _reader(hint: Any) -> Callable[[Any], Any] | None:
    kind = typing.get_origin(hint) or hint
    parts = typing.get_args(hint)
    if kind in _SEQUENCES:
        item = reader_of(parts[0]) if parts else None
        if item:
            return lambda value: kind(map(item, value))
        return None if kind is list else kind
    if kind is tuple:
        if len(parts) == 2 and parts[1] is Ellipsis or not parts:
            item = reader_of(parts[0]) if parts else None
            return (lambda value: tuple(map(item, value))) if item else tuple
        readers = [reader_of(part) or (lambda value: value) for part in parts]
        return lambda value: tuple(read(one) for read, one in zip(readers, value))
    if kind in _MAPS or isinstance(kind, type) and issubclass(kind, dict):
        return _map_reader(kind, parts)
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        readers = [reader_of(hints[field.name]) or (lambda value: value) for field in dataclasses.fields(kind)]
        return lambda value: kind(*(read(one) for read, one in zip(readers, value)))
    raise TypeError(f"{words_of(hint)} cannot be kept in a state: use dict, list, set, tuple, dataclasses, plain values")


def _map_reader(kind: type, parts: tuple[Any, ...]) -> Callable[[Any], Any] | None:
    values = reader_of(parts[-1]) if parts and kind is not collections.Counter else None
    if kind is collections.defaultdict:
        raise TypeError("a defaultdict cannot be kept in a state, since its default cannot: use dict and setdefault")
    if values:
        return lambda value: kind((key, values(one)) for key, one in value.items())
    return None if kind is dict else kind
