"""Transforms: a function over rows, or over whole columns, and how what it gives becomes rows with their origins."""

from __future__ import annotations

import inspect
import typing
from array import array
from itertools import repeat
from typing import Any, Callable, Iterable, NamedTuple, Sequence

from . import registry
from .bind import Field, field_of, fit
from .column import Column, Text, column_buffers
from .errors import Misfit, Reject, place_of_function
from .options import check_options, parse_options
from .record import instances, read_rows, write_rows
from .types import Slot, Type, shape_of, slots_of, without_none, words_of


class Output(NamedTuple):
    """What the contract wants back for a batch: rows, columns, the input row of each row unless they are one for one,
    and the input rows that are refused."""

    rows: int
    columns: list[list[bytes]]
    origin: bytes | None
    rejected: list[tuple[int, str]]


class Transform:
    """What `@transform` knows of a function."""

    kind = "transform"

    def __init__(self, function: Callable[..., Any], input: list[Slot], output: list[Slot], options: Any) -> None:
        self.name = function.__name__
        self.function, self.input, self.output, self.options = function, input, output, options
        self.whose = f"{self.name} ({place_of_function(function)})"

    whole_columns = False

    def bind(self, given: Sequence[Field], options: str) -> tuple[list[str], list[Field], BoundTransform]:
        """The columns that are wanted, those that are returned, and the transform that knows its columns and options."""
        types, options = bind_all(self.input, given, self.whole_columns, self.options, options)
        arguments = () if self.options is None else (options,)
        wanted = [slot.name for slot in self.input]
        return wanted, list(map(field_of, self.output)), BoundTransform(self, types, arguments)

    def apply(self, types: Sequence[Type], arguments: tuple[Any, ...], rows: int, columns: Any) -> Output:
        """Applies the function to one batch."""
        raise NotImplementedError


def bind_all(
    input: list[Slot], given: Sequence[Field], whole_columns: bool, record: Any, options: str
) -> tuple[list[Type], Any]:
    """The types in which columns come, and the options; or everything that does not fit."""
    types, misfits = fit(input, given, whole_columns)
    parsed = None
    try:
        parsed = parse_options(record, options)
    except Misfit as misfit:
        misfits.append(str(misfit))
    if misfits:
        raise Misfit("; ".join(misfits))
    return types, parsed


class BoundTransform(NamedTuple):
    """A transform that knows its columns and options."""

    transform: Transform
    types: list[Type]
    arguments: tuple[Any, ...]

    def apply(self, rows: int, columns: Sequence[Sequence[bytes]]) -> Output:
        """Applies it to one batch."""
        return self.transform.apply(self.types, self.arguments, rows, columns)


class RowTransform(Transform):
    """A function of one row."""

    def __init__(self, function: Callable[..., Any]) -> None:
        hints = annotations_of(function)
        names = list(inspect.signature(function).parameters)
        if len(names) not in (1, 2):
            raise TypeError(f"{function.__name__} takes a row, and its options if it has some: {len(names)} parameters")
        self.record = hint_of(hints, names[0], function)
        options = hint_of(hints, names[1], function) if len(names) == 2 else None
        if options is not None:
            check_options(options)
        self.row = emitted(hint_of(hints, "return", function), function)
        input = slots_of(self.record, f"the row of {function.__name__}")
        super().__init__(function, input, slots_of(self.row, f"what {function.__name__} returns"), options)

    def apply(self, types: Sequence[Type], arguments: tuple[Any, ...], rows: int, columns: Any) -> Output:
        read = read_rows(self.input, types, columns, rows)
        count = len(read.numbers)
        calls = map(self.function, instances(self.record, read.columns, count), *map(repeat, arguments))
        results: list[Any] = []
        while True:
            try:
                # One loop of the interpreter's own; what it has so far stays when a row is refused.
                results.extend(calls)
                break
            except Reject as reject:
                results.append(reject)
        if len(results) != count:
            raise Misfit(f"StopIteration, raised for row {read.numbers[len(results)]} (in {self.whose})")
        if count == rows and set(map(type, results)) == {self.row}:
            return Output(rows, write_rows(self.output, results, self.whose), None, [])
        return self.sort_out(results, read.numbers, read.refused)

    def sort_out(self, results: list[Any], numbers: Sequence[int], rejected: list[tuple[int, str]]) -> Output:
        """Takes results apart that are more than one row each."""
        out: list[Any] = []
        origin: list[int] = []
        record, rejected = self.row, list(rejected)
        for row, result in zip(numbers, results):
            if type(result) is record:
                out.append(result)
                origin.append(row)
            elif isinstance(result, Reject):
                rejected.append((row, result.reason))
            elif result is not None:
                before = len(out)
                try:
                    out.extend(self.several(result))
                except Reject as reject:  # a generator may come to that late
                    del out[before:]
                    rejected.append((row, reject.reason))
                origin.extend([row] * (len(out) - before))
        odd = set(map(type, out)) - {record}
        if odd:
            raise Misfit(f"{self.whose} returned {a(odd.pop())} where {a(record)} belongs")
        rejected.sort()
        return Output(len(out), write_rows(self.output, out, self.whose), array("I", origin).tobytes(), rejected)

    def several(self, result: Any) -> Iterable[Any]:
        """The rows that became of one."""
        if isinstance(result, (str, bytes, dict)) or not isinstance(result, typing.Iterable):
            raise Misfit(f"{self.whose} returned {a(type(result))} where {a(self.row)}, None or several belong")
        return result


class Mapped(NamedTuple):
    """Columns with more to say than one row for each input row. `origin` has the input row of each output row, never
    decreasing; an input row that is neither there nor refused is filtered out. `rejected` are pairs of an input row and
    a reason."""

    columns: dict[str, Any]
    origin: Sequence[int] | None = None
    rejected: Sequence[tuple[int, str]] = ()


class ColumnTransform(Transform):
    """A function of whole columns."""

    whole_columns = True

    def __init__(self, function: Callable[..., Any], output: dict[str, Any] | None) -> None:
        hints = annotations_of(function)
        name = function.__name__
        input: list[Slot] = []
        options = None
        for parameter in inspect.signature(function).parameters:
            hint = hint_of(hints, parameter, function)
            if typing.get_origin(hint) is Column:
                input.append(slot_of(parameter, typing.get_args(hint)[0], name))
            else:
                check_options(hint)
                options = hint
        returned = hint_of(hints, "return", function) if output is None else output
        if not isinstance(returned, dict):
            raise TypeError(f'{name} has to say which columns it returns: -> {{"cents": int}}, not {words_of(returned)}')
        returns = [slot_of(column, hint, name) for column, hint in returned.items()]
        super().__init__(function, input, returns, options)

    def apply(self, types: Sequence[Type], arguments: tuple[Any, ...], rows: int, columns: Any) -> Output:
        given = [Column(kind, rows, buffers) for kind, buffers in zip(types, columns)]
        named = {slot.name: column for slot, column in zip(self.input, given)}
        if arguments:
            options = next(name for name in inspect.signature(self.function).parameters if name not in named)
            named[options] = arguments[0]
        mapped = self.function(**named)
        if not isinstance(mapped, Mapped):
            mapped = Mapped(mapped)
        if not isinstance(mapped.columns, dict) or mapped.columns.keys() != {slot.name for slot in self.output}:
            what = list(mapped.columns) if isinstance(mapped.columns, dict) else a(type(mapped.columns))
            raise Misfit(f"{self.whose} returned {what}, not the columns {[slot.name for slot in self.output]}")
        returned = rows if mapped.origin is None else len(mapped.origin)
        written = []
        for slot in self.output:
            count, buffers = column_buffers(slot, mapped.columns[slot.name], self.whose)
            if count != returned:
                raise Misfit(f"{self.whose}: column `{slot.name}` has {count} values where {returned} rows are returned")
            written.append(buffers)
        rejected = sorted({row: str(reason) for row, reason in reversed(list(mapped.rejected))}.items())
        origin = None if mapped.origin is None else checked_origin(mapped.origin, rejected, rows, self.whose)
        if rejected and not 0 <= rejected[0][0] <= rejected[-1][0] < rows:
            raise Misfit(f"{self.whose} refuses rows that are not among the {rows}")
        return Output(returned, written, origin, rejected)


def checked_origin(origin: Sequence[int], rejected: list[tuple[int, str]], rows: int, whose: str) -> bytes:
    """Origins as the contract wants them."""
    origin = list(origin)
    if origin != sorted(origin):
        raise Misfit(f"{whose}: origins that decrease")
    if origin and not 0 <= origin[0] <= origin[-1] < rows:
        raise Misfit(f"{whose}: an origin that is none of the {rows} rows")
    both = {row for row, _ in rejected}.intersection(origin)
    if both:
        raise Misfit(f"{whose}: row {min(both)} is both refused and returned")
    return array("I", origin).tobytes()


def annotations_of(function: Callable[..., Any]) -> dict[str, Any]:
    """A function's annotations, also where they stand in quotes."""
    return inspect.get_annotations(function, eval_str=True)


def hint_of(hints: dict[str, Any], name: str, function: Callable[..., Any]) -> Any:
    """One annotation, which has to be there."""
    if name not in hints:
        what = "what it returns" if name == "return" else f"the type of `{name}`"
        raise TypeError(f"{function.__name__} has to say {what}: its columns come from there")
    return hints[name]


def slot_of(name: str, hint: Any, whose: str) -> Slot:
    """A column by its annotation."""
    shape = shape_of(hint)
    if shape is None:
        raise TypeError(f"column `{name}` of {whose} is {words_of(hint)}, which no column can be")
    return Slot(name, shape)


def emitted(hint: Any, function: Callable[..., Any]) -> type:
    """The dataclass of the rows that a function returns: it, several of it, perhaps none."""
    hint, _ = without_none(hint)
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is not None and arguments:
        hint = arguments[0]
    if not isinstance(hint, type):
        raise TypeError(f"{function.__name__} returns {words_of(hint)}: it has to be a dataclass, list[…] of it, or | None")
    return hint


def a(kind: type) -> str:
    """A type with its article, for errors."""
    return f"an {kind.__name__}" if kind.__name__[0] in "aeiouAEIOU" else f"a {kind.__name__}"


_Function = typing.TypeVar("_Function", bound=Callable[..., Any])


class _Decorator:
    """`@transform` and `@transform.columns`."""

    def __call__(self, function: _Function) -> _Function:
        """Makes a function of a row a transform: `def clean(row: In, options: Options) -> Out | None`.

        The row and what is returned are dataclasses, whose fields are the columns. None filters the row out; several rows
        are a list, or what a generator yields; `raise Reject(reason)` refuses the row. The function itself stays as it is.
        """
        return registry.add(function, RowTransform(function))

    def columns(self, function: Any = None, *, output: dict[str, Any] | None = None) -> Any:
        """Makes a function of whole columns a transform: `def scale(amount: Column[float]) -> {"cents": int}`.

        Parameters are called like their columns; one that is no `Column` is the options. It returns a dict of its columns,
        or `Mapped` ones. Where the annotation is not to a type checker's taste, `output` says the same.
        """
        if function is None:
            return lambda function: self.columns(function, output=output)
        return registry.add(function, ColumnTransform(function, output))


transform = _Decorator()
