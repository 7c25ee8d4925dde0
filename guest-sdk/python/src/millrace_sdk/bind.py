"""Fitting the columns that a project gives to those that a UDF wants: all misfits in one message, each with its cure.

What fits: the same type; int32 for int64 and float32 for float64, widened; a column without nulls for one that may have
them. A column that may have nulls fits a row's field that may not as well: the rows that do have one are refused, one by
one. It does not fit whole columns, where no row could be.
"""

from __future__ import annotations

from typing import NamedTuple, Sequence

from .errors import Misfit
from .types import Slot, Type, from_format


class Field(NamedTuple):
    """A column as the contract describes it."""

    name: str
    format: str
    nullable: bool


def field_of(slot: Slot) -> Field:
    """A column that is returned, in the contract's words."""
    return Field(slot.name, slot.shape.type.format, slot.shape.nullable)


def fit(wanted: Sequence[Slot], given: Sequence[Field], whole_columns: bool) -> tuple[list[Type], list[str]]:
    """The types in which the wanted columns come, and what does not fit."""
    found, misfits = [], []
    for slot in wanted:
        try:
            found.append(_fit_one(slot, given, whole_columns))
        except Misfit as misfit:
            misfits.append(str(misfit))
    return found, misfits


def _fit_one(slot: Slot, given: Sequence[Field], whole_columns: bool) -> Type:
    name, wanted = slot.name, slot.shape.type
    field = next((field for field in given if field.name == name), None)
    if field is None:
        raise Misfit(_missing(slot, given))
    kind = from_format(field.format)
    if kind is None:
        raise Misfit(f"column `{name}` has the format `{field.format}`, which this UDF's SDK does not know")
    if not _widens(kind, wanted):
        raise Misfit(f"column `{name}` is {kind}, wanted {wanted}: map an expression of that type to `{name}`")
    if field.nullable and not slot.shape.nullable and whole_columns:
        raise Misfit(
            f"column `{name}` may be null, wanted {wanted} without nulls: map `coalesce({name}, …)` to `{name}`"
        )
    return kind


def _widens(given: Type, wanted: Type) -> bool:
    if given.item and wanted.item:
        return _widens(given.item, wanted.item)
    return given == wanted or (given.name, wanted.name) in (("int32", "int64"), ("float32", "float64"))


def _missing(slot: Slot, given: Sequence[Field]) -> str:
    name, kind = slot.name, slot.shape.type
    if not given:
        return f"no column `{name}` ({kind}): none is given"
    names = [field.name for field in given]
    nearest = max(names, key=lambda other: likeness(other, name))
    listed = ", ".join(f"`{other}`" for other in names)
    return f'no column `{name}` ({kind}) among {listed}: map one to it, as in {{ {name} = "{nearest}" }}'


def likeness(a: str, b: str) -> float:
    """How alike two names are, from 0 to 1: Jaro's and Winkler's measure, as in the other SDKs."""
    if not a or not b:
        return float(a == b)
    reach = max(max(len(a), len(b)) // 2 - 1, 0)
    taken = [False] * len(b)
    matched_a = []
    for i, letter in enumerate(a):
        for j in range(max(0, i - reach), min(len(b), i + reach + 1)):
            if not taken[j] and b[j] == letter:
                taken[j] = True
                matched_a.append(letter)
                break
    if not matched_a:
        return 0.0
    matched_b = [letter for letter, was in zip(b, taken) if was]
    swapped = sum(one != other for one, other in zip(matched_a, matched_b)) // 2
    count = len(matched_a)
    jaro = (count / len(a) + count / len(b) + (count - swapped) / count) / 3
    prefix = 0
    for one, other in zip(a[:4], b[:4]):
        if one != other:
            break
        prefix += 1
    return jaro + 0.1 * prefix * (1 - jaro)
