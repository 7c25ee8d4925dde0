"""Aggregates: a state for each key that rows are folded into, states that are merged, and values that are made of them.

The state is the host's: it comes as columns, one row a key of this batch, and goes back as columns. Nothing is kept
between two calls.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
import re
import typing
from array import array
from operator import length_hint
from typing import Any, Callable, Iterator, NamedTuple, Sequence

from . import messagepack, registry
from .bind import Field, field_of
from .errors import Misfit, Reject, place_of_function
from .options import check_options
from .record import BINARY, Packed, decode_columns, instances, read_rows, unpack_column, write_column, write_rows
from .transform import a, annotations_of, bind_all, hint_of
from .types import Slot, Type, Window, shape_of, slots_of, without_none

Columns = Sequence[Sequence[bytes]]


class Signature(NamedTuple):
    """What an aggregate says of itself when it is bound."""

    input: list[str]
    state: list[Field]
    output: list[Field]
    ordered: bool


class State:
    """How the author's dataclass of a state lies in columns: its plain fields as they are, any other packed."""

    def __init__(self, record: Any, whose: str) -> None:
        if not (isinstance(record, type) and dataclasses.is_dataclass(record)):
            raise TypeError(f"{whose} needs its state as a dataclass in it: @dataclass class State: …")
        self.record, self.whose = record, f"the state of {whose}"
        self.slots: list[Slot] = []
        self.packed: list[Packed | None] = []
        hints = typing.get_type_hints(record)
        for field in dataclasses.fields(record):
            shape = shape_of(hints[field.name])
            if shape is not None and not shape.type.item:
                self.slots.append(Slot(field.name, shape))
                self.packed.append(None)
            else:
                self.slots.append(Slot(field.name, BINARY))
                self.packed.append(Packed(field.name, messagepack.reader_of(hints[field.name])))
        self.types = [slot.shape.type for slot in self.slots]
        self.plain = not any(self.packed)

    def has_defaults(self) -> bool:
        """Whether it can be made of nothing."""
        missing = dataclasses.MISSING
        return all(
            field.default is not missing or field.default_factory is not missing
            for field in dataclasses.fields(self.record)
        )

    def read(self, rows: int, columns: Columns) -> list[Any]:
        """The states of columns."""
        decoded = decode_columns(self.slots, self.types, columns, rows)
        values = []
        for slot, packed, (column, fits) in zip(self.slots, self.packed, decoded):
            if fits is not None and 0 in fits:
                raise Misfit(f"state: column `{slot.name}` holds a null")
            values.append(unpack_column(packed, column) if packed else column)
        return list(instances(self.record, values, rows))

    def write(self, states: Sequence[Any]) -> list[list[bytes]]:
        """The columns of states."""
        if self.plain:
            return write_rows(self.slots, states, self.whose)
        written = []
        for slot, packed in zip(self.slots, self.packed):
            values = [getattr(state, slot.name) for state in states]
            if packed:
                try:
                    values = list(map(messagepack.pack, values))
                except Misfit as misfit:
                    raise Misfit(f"{self.whose}: field `{slot.name}`: {misfit}") from None
            written.append(write_column(slot, values, self.whose))
        return written

    def copy(self, state: Any) -> Any:
        """A copy, to go back to when a row is refused half way."""
        return copy.copy(state) if self.plain else copy.deepcopy(state)


class Aggregate:
    """What `@aggregate` knows of a class."""

    kind = "aggregate"

    def __init__(self, kind: type, ordered: bool, name: str | None) -> None:
        self.name = name or snake(kind.__name__)
        self.author, self.ordered = kind, ordered
        for method in ("update", "merge", "evaluate"):
            if not callable(getattr(kind, method, None)):
                raise TypeError(f"{kind.__name__} has no `{method}`")
        update, evaluate = inspect.unwrap(kind.update), inspect.unwrap(kind.evaluate)  # type: ignore[attr-defined]
        self.whose = f"{self.name} ({place_of_function(update)})"
        self.state = State(getattr(kind, "State", None), kind.__name__)
        if not hasattr(kind, "initial") and not self.state.has_defaults():
            raise TypeError(f"{kind.__name__}.State needs a default for each field, or {kind.__name__} an `initial`")
        parameters = list(inspect.signature(update).parameters)
        if len(parameters) != 3:
            raise TypeError(f"{kind.__name__}.update takes itself, a state and a row")
        self.record = hint_of(annotations_of(update), parameters[2], update)
        self.input = slots_of(self.record, f"the row of {kind.__name__}.update")
        self.options = inspect.get_annotations(kind, eval_str=True).get("options")
        if self.options is not None:
            check_options(self.options)
        returned = hint_of(annotations_of(evaluate), "return", evaluate)
        shape = shape_of(returned)
        self.single = shape is not None
        bare = without_none(returned)[0]
        self.row: Any = None if shape else bare
        self.output = [Slot("value", shape)] if shape else slots_of(bare, f"what {kind.__name__}.evaluate returns")

    def bind(self, given: Sequence[Field], options: str) -> tuple[Signature, BoundAggregate]:
        """What it wants, keeps and gives, and the aggregate that knows its columns and options."""
        types, options = bind_all(self.input, given, False, self.options, options)
        author = self.author()
        if self.options is not None:
            author.options = options
        state, output = list(map(field_of, self.state.slots)), list(map(field_of, self.output))
        signature = Signature([slot.name for slot in self.input], state, output, self.ordered)
        return signature, BoundAggregate(self, author, types)


class BoundAggregate(NamedTuple):
    """An aggregate that knows its columns and options."""

    aggregate: Aggregate
    author: Any
    types: list[Type]

    def initial(self, rows: int) -> list[list[bytes]]:
        """State rows that hold nothing yet."""
        state = self.aggregate.state
        first = self.author.initial() if hasattr(self.author, "initial") else state.record()
        if not isinstance(first, state.record):
            raise Misfit(f"{self.aggregate.whose}: initial returned {a(type(first))} where {a(state.record)} belongs")
        return state.write([first] * rows)

    def update(
        self, states: int, state: Columns, groups: bytes, rows: int, columns: Columns
    ) -> tuple[list[list[bytes]], list[tuple[int, str]]]:
        """Folds rows into states: the states, and the rows that are refused."""
        kept = self.aggregate.state
        objects = kept.read(states, state)
        read = read_rows(self.aggregate.input, self.types, columns, rows)
        numbers = group_numbers(groups, rows, states)
        of_rows = numbers if len(read.numbers) == rows else [numbers[row] for row in read.numbers]
        made = instances(self.aggregate.record, read.columns, len(of_rows))
        update = self.author.update
        # Where the fold has got to is what the iterator has left.
        left = iter(of_rows)
        try:
            for one, row in zip(map(objects.__getitem__, left), made):
                update(one, row)
            rejected = read.refused
        except Reject as reject:
            at = len(of_rows) - length_hint(left) - 1
            rejected = self.resume(objects, lambda: kept.read(states, state), read, of_rows, at, reject)
        return kept.write(objects), rejected

    def resume(
        self, objects: list[Any], before: Callable[[], list[Any]], read: Any, groups: list[int], at: int, reject: Reject
    ) -> list[tuple[int, str]]:
        """Goes on after the first row that is refused, at `at`. Whatever it did to its state is undone: that state is
        folded anew from where the call began. From here on each row has a copy to go back to, which is dear, and
        only paid where rows are refused."""
        update, kept = self.author.update, self.aggregate.state
        rejected = [*read.refused, (read.numbers[at], reject.reason)]
        group = groups[at]
        objects[group] = before()[group]
        made = instances(self.aggregate.record, read.columns, len(groups))
        for index, row in enumerate(_all(made)):
            if index < at:
                if groups[index] == group:
                    update(objects[group], row)
                continue
            if index == at:
                continue
            saved = kept.copy(objects[groups[index]])
            try:
                if isinstance(row, Reject):
                    raise row
                update(objects[groups[index]], row)
            except Reject as refused:
                objects[groups[index]] = saved
                rejected.append((read.numbers[index], refused.reason))
        return sorted(rejected)

    def merge(self, states: int, state: Columns, groups: bytes, rows: int, partial: Columns) -> list[list[bytes]]:
        """Folds states into states, the later after the earlier."""
        kept, merge = self.aggregate.state, self.author.merge
        objects = kept.read(states, state)
        for group, later in zip(group_numbers(groups, rows, states), kept.read(rows, partial)):
            merge(objects[group], later)
        return kept.write(objects)

    def evaluate(self, states: int, state: Columns, since: bytes, until: bytes) -> list[list[bytes]]:
        """The features of states."""
        aggregate, evaluate = self.aggregate, self.author.evaluate
        windows = map(Window, bounds(since, states, "since"), bounds(until, states, "until"))
        values = list(map(evaluate, aggregate.state.read(states, state), windows))
        if len(values) != states:
            raise Misfit(f"StopIteration, raised by evaluate (in {aggregate.whose})")
        if aggregate.single:
            return [write_column(aggregate.output[0], values, f"evaluate of {aggregate.name}")]
        odd = set(map(type, values)) - {aggregate.row}
        if odd:
            raise Misfit(f"evaluate of {aggregate.name} returned {a(odd.pop())} where {a(aggregate.row)} belongs")
        return write_rows(aggregate.output, values, f"evaluate of {aggregate.name}")


def _all(rows: Iterator[Any]) -> Iterator[Any]:
    """Rows as they are made; a row that refuses to be made is its refusal."""
    while True:
        try:
            yield next(rows)
        except StopIteration:
            return
        except Reject as reject:
            yield reject


def group_numbers(buffer: bytes, rows: int, states: int) -> list[int]:
    """The state row of each row."""
    groups = list(_numbers("I", buffer, rows, "groups"))
    if groups and max(groups) >= states:
        raise Misfit(f"group {max(groups)} is not among the state's rows")
    return groups


def bounds(buffer: bytes, rows: int, what: str) -> list[int]:
    """The bounds of windows."""
    return list(_numbers("q", buffer, rows, what))


def _numbers(code: str, buffer: bytes, count: int, what: str) -> array[int]:
    numbers = array(code)
    if len(buffer) != count * numbers.itemsize:
        raise Misfit(f"{what}: {len(buffer)} bytes where {count} numbers of {numbers.itemsize} bytes belong")
    numbers.frombytes(buffer)
    return numbers


def snake(name: str) -> str:
    """`LastCategories` as `last_categories`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def aggregate(kind: Any = None, *, ordered: bool = False, name: str | None = None) -> Any:
    """Makes a class an aggregate: its State is a dataclass, `update(self, s, row: In)` folds a row into one,
    `merge(self, s, later)` a later one, and `evaluate(self, s, window) -> float` gives the feature.

    An annotation `options: Options` gives the project's options as `self.options`. It is called in snake case what the
    class is called, or `name`. With `ordered` rows come sorted by event time, once the watermark has passed them.
    """
    if kind is None:
        return lambda kind: aggregate(kind, ordered=ordered, name=name)
    return registry.add(kind, Aggregate(kind, ordered, name))
