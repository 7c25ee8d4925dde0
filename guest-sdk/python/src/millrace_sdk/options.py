"""Options: the JSON object that a project gives, as the author's dataclass.

Names are in kebab case in a project file (`half-life`) and in snake case in Python; unknown ones are refused, missing ones
are the dataclass's defaults. What the types let pass `__post_init__` refuses, by raising.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import re
import typing
from typing import Any, Mapping, NewType

from .errors import Misfit, Reject
from .types import without_none, words_of

Span = NewType("Span", int)
"""A length of time, which a project writes as "5m" or "1h 30m": in microseconds."""

UNITS = {"us": 1, "ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}


def parse_span(text: str) -> Span:
    """Reads `5m`, `1h 30m`, `250ms`, as microseconds."""
    parts = re.findall(r"([0-9]+)([a-zA-Z]+)\s*", text)
    whole = re.fullmatch(r"\s*(?:[0-9]+[a-zA-Z]+\s*)+", text)
    if not whole or any(unit not in UNITS for _, unit in parts):
        raise Misfit(f"`{text}` is not a duration: write a number and a unit (us ms s m h d), as in `5m`")
    micros = sum(int(number) * UNITS[unit] for number, unit in parts)
    if micros >= 1 << 63:
        raise Misfit(f"`{text}` is not a duration: it is longer than any time that can be told")
    return Span(micros)


def show_span(micros: int) -> str:
    """Microseconds in their largest whole unit: `5m`."""
    unit = next(unit for unit in reversed(UNITS) if micros % UNITS[unit] == 0)
    return f"{micros // UNITS[unit]}{unit}"


def check_options(record: Any) -> None:
    """Refuses a class that options cannot be made of, when the author's module is loaded."""
    if record in (dict, Mapping) or typing.get_origin(record) is dict:
        return
    if not (isinstance(record, type) and dataclasses.is_dataclass(record)):
        raise TypeError(f"options are a dataclass or a dict, not {words_of(record)}")


def parse_options(record: Any, text: str) -> Any:
    """The options that `bind` is given; without a class for them there must be none."""
    try:
        given = json.loads(text) if text.strip() else {}
    except ValueError as error:
        raise Misfit(f"options: they are no JSON: {error}") from None
    if not isinstance(given, dict):
        raise Misfit(f"options: they are a table, not {_shown(given)}")
    if record is not None and not dataclasses.is_dataclass(record):
        return given
    try:
        return _table(record, given)
    except Misfit as misfit:
        example = getattr(record, "EXAMPLE", None)
        raise Misfit(f"options: {misfit}; for example options = {example}" if example else f"options: {misfit}") from None


def _table(record: Any, given: dict[str, Any]) -> Any:
    fields = [field for field in dataclasses.fields(record) if field.init] if record else []
    known = {field.name.replace("_", "-"): field for field in fields}
    hints = typing.get_type_hints(record) if record else {}
    values = {}
    for name, value in given.items():
        field = known.get(name.replace("_", "-"))
        if field is None:
            listed = ", ".join(f"`{name}`" for name in known)
            expected = "there are no fields" if not known else f"expected {'one of ' * (len(known) > 1)}{listed}"
            raise Misfit(f"unknown field `{name}`, {expected}")
        try:
            values[field.name] = _convert(hints[field.name], value)
        except Misfit as misfit:
            raise Misfit(f"`{name}`: {misfit}") from None
    for name, field in known.items():
        default = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        if field.name not in values and not default:
            raise Misfit(f"missing field `{name}`")
    try:
        return record(**values) if record else None
    except (ValueError, Reject, AssertionError) as error:
        raise Misfit(str(error) or type(error).__name__) from None


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _convert(hint: Any, value: Any) -> Any:
    hint, nullable = without_none(hint)
    if value is None and nullable:
        return None
    kind = typing.get_origin(hint) or hint
    parts = typing.get_args(hint)
    if kind is Any or kind is object:
        return value
    if kind in (Span, datetime.timedelta):
        if not isinstance(value, str):
            raise Misfit(f'{_shown(value)} is not a duration such as "5m"')
        micros = parse_span(value)
        return micros if kind is Span else datetime.timedelta(microseconds=micros)
    kind = getattr(kind, "__supertype__", kind)
    if kind is typing.Literal:
        if value not in parts:
            raise Misfit(f"{_shown(value)} is none of {', '.join(map(_shown, parts))}")
        return value
    if kind is float and type(value) in (int, float):
        return float(value)
    if kind in (bool, int, str) and type(value) is kind:
        return value
    if kind in (list, tuple, set, frozenset) and isinstance(value, list):
        return kind(_convert(parts[0], item) for item in value) if parts else kind(value)
    if kind is dict and isinstance(value, dict):
        return {key: _convert(parts[1], item) for key, item in value.items()} if parts else value
    if dataclasses.is_dataclass(kind) and isinstance(value, dict):
        return _table(kind, value)
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", dict: "a table"}
    words |= dict.fromkeys((list, tuple, set, frozenset), "a list")
    raise Misfit(f"{_shown(value)} is not {words.get(kind, 'a table' if isinstance(kind, type) else words_of(hint))}")
