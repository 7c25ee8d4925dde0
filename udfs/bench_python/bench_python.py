"""What the boundary costs in Python: the work of bench_transform, row by row and over whole columns, and the crossing alone."""

from array import array
from dataclasses import dataclass

from millrace_sdk import Column, transform


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
