"""The component's side of the contract: the UDFs of the author's module, by name, and the one that this instance was
bound to. Runs inside of components alone, where `wit_world` is.

An instance has one thread and is bound once. No exception leaves it but the contract's own.
"""

from __future__ import annotations

import sys
from typing import Any, Callable

from componentize_py_types import Err  # type: ignore[import-not-found]
from wit_world.imports import columns as wire  # type: ignore[import-not-found]
from wit_world.imports import log as host_log

try:  # a component has the interfaces that it has something for
    from wit_world.exports import transform as of_transforms  # type: ignore[import-not-found]
except ImportError:
    pass
try:
    from wit_world.exports import aggregate as of_aggregates  # type: ignore[import-not-found]
except ImportError:
    pass

from . import log, registry, still
from .bind import Field
from .errors import Misfit, told

_LEVELS = {level.name.lower(): level for level in host_log.Level}


def _write(level: str, message: str) -> None:
    host_log.log(_LEVELS[level], message)


class _Lines:
    """What is printed, as lines of the host's log."""

    encoding = "utf-8"

    def __init__(self, level: str) -> None:
        self.level, self.rest = level, ""

    def write(self, text: str) -> int:
        *lines, self.rest = (self.rest + text).split("\n")
        for line in lines:
            log.write(self.level, line)
        return len(text)

    def flush(self) -> None:
        pass


def start() -> None:
    """Sends what is logged and printed to the host; from now on no module is loaded."""
    still.after_loading()
    log.write = _write
    sys.stdout, sys.stderr = _Lines("info"), _Lines("warn")  # type: ignore[assignment]


def _call(call: Callable[..., Any], *arguments: Any) -> Any:
    still.before_call()
    try:
        return told(call, *arguments)
    except Misfit as misfit:
        raise Err(str(misfit)) from None


def _batch(rows: int, columns: Any) -> Any:
    return wire.Batch(rows, [wire.Column(buffers) for buffers in columns])


def _buffers(batch: Any) -> list[list[bytes]]:
    return [column.buffers for column in batch.columns]


def _fields(fields: Any) -> list[Any]:
    return [wire.Field(field.name, field.format, field.nullable) for field in fields]


def _given(fields: Any) -> list[Field]:
    return [Field(field.name, field.format, field.nullable) for field in fields]


def _rejections(rejected: Any) -> list[Any]:
    return [wire.Rejection(row, reason) for row, reason in rejected]


def _entry(kind: str, name: str) -> Any:
    for entry in registry.held(kind):
        if entry.name == name:
            return entry
    known = ", ".join(f"`{entry.name}`" for entry in registry.held(kind))
    raise Misfit(f"no {kind} `{name}` in this component; it has {known}")


def _bound_or(bound: Any) -> Any:
    if bound is None:
        raise Err("called before bind")
    return bound


class Transform:
    """The contract's `transform`."""

    bound: Any = None

    def names(self) -> list[str]:
        return [entry.name for entry in registry.held("transform")]

    def bind(self, name: str, input: Any, options: str) -> Any:
        start()
        entry = _call(_entry, "transform", name)
        wanted, output, Transform.bound = _call(entry.bind, _given(input), options)
        return of_transforms.Signature(wanted, _fields(output))

    def apply(self, input: Any) -> Any:
        bound = _bound_or(Transform.bound)
        done = _call(bound.apply, input.rows, _buffers(input))
        return of_transforms.Output(_batch(done.rows, done.columns), done.origin, _rejections(done.rejected))


class Aggregate:
    """The contract's `aggregate`."""

    bound: Any = None

    def names(self) -> list[str]:
        return [entry.name for entry in registry.held("aggregate")]

    def bind(self, name: str, input: Any, options: str) -> Any:
        start()
        entry = _call(_entry, "aggregate", name)
        signature, Aggregate.bound = _call(entry.bind, _given(input), options)
        state, output = _fields(signature.state), _fields(signature.output)
        return of_aggregates.Signature(signature.input, state, output, signature.ordered)

    def initial(self, rows: int) -> Any:
        return _batch(rows, _call(_bound_or(Aggregate.bound).initial, rows))

    def update(self, state: Any, groups: bytes, input: Any) -> Any:
        bound = _bound_or(Aggregate.bound)
        columns, rejected = _call(bound.update, state.rows, _buffers(state), groups, input.rows, _buffers(input))
        return of_aggregates.Updated(_batch(state.rows, columns), _rejections(rejected))

    def merge(self, state: Any, groups: bytes, partial: Any) -> Any:
        bound = _bound_or(Aggregate.bound)
        merged = _call(bound.merge, state.rows, _buffers(state), groups, partial.rows, _buffers(partial))
        return _batch(state.rows, merged)

    def evaluate(self, state: Any, since: bytes, until: bytes) -> Any:
        bound = _bound_or(Aggregate.bound)
        return _batch(state.rows, _call(bound.evaluate, state.rows, _buffers(state), since, until))
