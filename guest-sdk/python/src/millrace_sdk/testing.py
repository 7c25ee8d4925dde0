"""Transforms and aggregates in the author's own `python -m unittest`: the way of a batch through a component, natively,
with rows as dicts.

    from millrace_sdk import testing

    got = testing.run(clean, [{"merchant": " Shell ", "amount": 1.5}, {"amount": -1}])
    assert got.rows == [{"category": "shell", "cents": 150}]
    assert got.rejected == [(1, "negative amount")]

What the contract asks of every UDF is checked on the way: a transform gives the same whether rows come together or alone,
an aggregate the same state wherever its rows are cut.
"""

from __future__ import annotations

import json
from array import array
from dataclasses import dataclass
from typing import Any, Mapping, Sequence

from .bind import Field, field_of
from .columns import decode, encode
from .errors import Misfit, told
from .registry import entry_of
from .types import Shape, Slot, Type, from_format, parse

Row = Mapping[str, Any]


@dataclass
class Transformed:
    """What became of a test's rows: those that came back, the input row of each, and those that were refused."""

    rows: list[dict[str, Any]]
    origin: list[int]
    rejected: list[tuple[int, str]]


def run(
    transform: Any, rows: Sequence[Row], options: Row | None = None, columns: Mapping[str, str | None] | None = None
) -> Transformed:
    """Runs a transform over rows. `columns` gives columns other types than those wanted, `{"amount": "float32?"}`, or None
    for no column of the name. What bind or the call says is raised as a ValueError."""
    return _raising(_run, entry_of(transform, "transform"), rows, options, columns)


def fold(
    aggregate: Any, rows: Sequence[Row], options: Row | None = None, columns: Mapping[str, str | None] | None = None
) -> Folded:
    """Folds rows of one key, in their order."""
    return _raising(_fold, entry_of(aggregate, "aggregate"), rows, options, columns)


def _raising(call: Any, *arguments: Any) -> Any:
    try:
        return told(call, *arguments)
    except Misfit as misfit:
        raise ValueError(str(misfit)) from None


def _given(wanted: Sequence[Slot], columns: Mapping[str, str | None] | None) -> list[Field]:
    changes = columns or {}
    fields = [field_of(slot) for slot in wanted if slot.name not in changes]
    for name, text in changes.items():
        if text is not None:
            kind = parse(text.removesuffix("?"))
            fields.append(Field(name, kind.format if kind else text.removesuffix("?"), text.endswith("?")))
    return fields


def _loose(kind: Type) -> Shape:
    return Shape(kind, True, _loose(kind.item) if kind.item else None)


def _columns(rows: Sequence[Row], names: Sequence[str], given: Sequence[Field]) -> list[list[bytes]]:
    kinds = {field.name: from_format(field.format) for field in given}
    return [encode(_loose(kinds[name]), [row.get(name) for row in rows]) for name in names]  # type: ignore[arg-type]


def _rows(columns: Sequence[Sequence[bytes]], slots: Sequence[Slot], rows: int) -> list[dict[str, Any]]:
    types = [slot.shape.type for slot in slots]
    values = [decode(kind, iter(buffers), rows, _loose(kind))[0] for kind, buffers in zip(types, columns)]
    names = [slot.name for slot in slots]
    return [dict(zip(names, row)) for row in zip(*values)]


def _run(entry: Any, rows: Sequence[Row], options: Row | None, columns: Mapping[str, str | None] | None) -> Transformed:
    given = _given(entry.input, columns)
    names, _, bound = entry.bind(given, json.dumps(options or {}))

    def once(rows: Sequence[Row]) -> Transformed:
        done = bound.apply(len(rows), _columns(rows, names, given))
        out = _rows(done.columns, entry.output, done.rows)
        origin = list(array("I", done.origin)) if done.origin is not None else list(range(done.rows))
        refused = {row for row, _ in done.rejected}
        kept = [(row, at) for row, at in zip(out, origin) if at not in refused]
        return Transformed([row for row, _ in kept], [at for _, at in kept], done.rejected)

    together, alone = once(rows), Transformed([], [], [])
    for at, row in enumerate(rows):
        one = once([row])
        alone.rows += one.rows
        alone.origin += [at] * len(one.rows)
        alone.rejected += [(at, reason) for _, reason in one.rejected]
    if repr(alone) != repr(together):  # for NaN is not itself
        raise Misfit(f"rows alone give another result than together: {alone}, {together}")
    return together


@dataclass
class Folded:
    """The state of one key, after some rows."""

    entry: Any
    bound: Any
    state: list[list[bytes]]
    rejected: list[tuple[int, str]]

    def merge(self, later: Folded) -> Folded:
        """Folds in the state of a later stretch of time."""
        state = _raising(self.bound.merge, 1, self.state, bytes(4), 1, later.state)
        return Folded(self.entry, self.bound, state, self.rejected)

    def evaluate(self, since: int = 0, until: int = 0) -> Any:
        """The feature: its value, or a dict if it has several."""
        bounds = (array("q", [since]).tobytes(), array("q", [until]).tobytes())
        row = _rows(_raising(self.bound.evaluate, 1, self.state, *bounds), self.entry.output, 1)[0]
        return row if len(row) > 1 else next(iter(row.values()))


def _fold(entry: Any, rows: Sequence[Row], options: Row | None, columns: Mapping[str, str | None] | None) -> Folded:
    given = _given(entry.input, columns)
    signature, bound = entry.bind(given, json.dumps(options or {}))

    def update(state: Any, rows: Sequence[Row]) -> Any:
        return bound.update(1, state, bytes(4 * len(rows)), len(rows), _columns(rows, signature.input, given))

    empty = bound.initial(1)
    state, rejected = update(empty, rows)
    for cut in range(len(rows) + 1):
        if update(update(empty, rows[:cut])[0], rows[cut:])[0] != state:
            raise Misfit(f"the state is another when the rows are cut before row {cut}")
    return Folded(entry, bound, state, rejected)
