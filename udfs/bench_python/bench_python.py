"""What the boundary costs in Python: the work of bench_transform, row by row and over whole columns, the crossing alone, and its
aggregate."""

from array import array
from dataclasses import dataclass

from millrace_sdk import Column, Window, aggregate, transform


@dataclass
class Row:
    value: float
    flag: bool
    text: str


@transform
def row_closure(row: Row) -> Row:
    return Row(row.value * 1.5 + 1.0, not row.flag, row.text.lower())


@transform.columns
def vectorised(value: Column[float], flag: Column[bool], text: Column[str]) -> {"value": float, "flag": bool, "text": str}:
    return {"value": array("d", [v * 1.5 + 1.0 for v in value.values]), "flag": ~flag, "text": text.lower()}


@transform.columns
def passthrough(value: Column[float], flag: Column[bool], text: Column[str]) -> {"value": float, "flag": bool, "text": str}:
    return {"value": value, "flag": flag, "text": text}


@dataclass
class Value:
    value: float


@aggregate
class Mean:
    @dataclass
    class State:
        sum: float = 0.0
        count: int = 0

    def update(self, s: State, row: Value) -> None:
        s.sum += row.value
        s.count += 1

    def merge(self, s: State, later: State) -> None:
        s.sum += later.sum
        s.count += later.count

    def evaluate(self, s: State, window: Window) -> float | None:
        return s.sum / s.count if s.count else None
