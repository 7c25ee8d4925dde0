"""Write transforms and aggregates for Millrace in Python.

    from dataclasses import dataclass
    from millrace_sdk import Reject, transform

    @dataclass
    class In:
        merchant: str | None
        amount: float

    @dataclass
    class Out:
        category: str
        cents: int

    @transform
    def clean(row: In) -> Out | None:
        if row.amount < 0:
            raise Reject("negative amount")
        return Out((row.merchant or "unknown").strip().lower(), round(row.amount * 100))

`build.py clean.py -o clean.wasm` makes a component of that, which imports nothing but the host's log. The same file runs
natively in its tests, through `millrace_sdk.testing`.

Always true: nothing is kept between two calls but the options and the columns' types; whatever is raised comes out as an
error with its place.
"""

from . import log
from .aggregate import aggregate
from .column import Column, Text
from .errors import Reject
from .options import Span, parse_span
from .transform import Mapped, transform
from .types import EARLIEST, Float32, Int32, Timestamp, Window

__all__ = [
    "EARLIEST",
    "Column",
    "Float32",
    "Int32",
    "Mapped",
    "Reject",
    "Span",
    "Text",
    "Timestamp",
    "Window",
    "aggregate",
    "log",
    "parse_span",
    "transform",
]
