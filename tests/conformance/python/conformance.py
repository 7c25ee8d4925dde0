"""The UDFs of the conformance suite, in Python: what tests/conformance/README.md says, and no more. Most are written row by
row, `echo` and `lower` over whole columns."""

import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone

from millrace_sdk import Column, Reject, Text, Timestamp, Window, aggregate, transform


@dataclass
class Value:
    value: float | None


@dataclass
class Factor:
    factor: float = 2.0


@transform
def multiply(row: Value, options: Factor) -> Value:
    return Value(None if row.value is None else row.value * options.factor)


LOWER = (
    {code: code + 32 for first, last in ((0x41, 0x5A), (0xC0, 0xDE), (0x391, 0x3A9), (0x410, 0x42F)) for code in range(first, last + 1)}
    | {code: code + 80 for code in range(0x400, 0x410)}
)
del LOWER[0xD7], LOWER[0x3A2]


@transform.columns
def lower(text: Column[str | None]) -> {"text": str | None}:
    # No letter becomes longer or shorter in UTF-8, so that the offsets stay.
    return {"text": Text(text.text.translate(LOWER), text.offsets, text.valid)}


@dataclass
class Above:
    above: float = 0.0


@transform
def filter(row: Value, options: Above) -> Value | None:
    return row if row.value is not None and row.value > options.above else None


@dataclass
class TextRow:
    text: str | None


@dataclass
class Word:
    word: str
    position: int


@transform
def flat_map(row: TextRow) -> Iterator[Word]:
    words = [word for word in (row.text or "").split(" ") if word]
    return (Word(word, position) for position, word in enumerate(words))


@dataclass
class Items:
    items: list[float | None] | None


@dataclass
class Item:
    item: float | None


@transform
def explode(row: Items) -> list[Item]:
    if row.items is None:
        raise Reject("no list")
    return [Item(item) for item in row.items]


@transform.columns
def echo(
    b: Column[bool | None],
    i: Column[int | None],
    f: Column[float | None],
    t: Column[Timestamp | None],
    s: Column[str | None],
    z: Column[bytes | None],
    lf: Column[list[float | None] | None],
    ls: Column[list[str | None] | None],
) -> {
    "b2": bool | None,
    "i2": int | None,
    "f2": float | None,
    "t2": Timestamp | None,
    "s2": str | None,
    "z2": bytes | None,
    "lf2": list[float | None] | None,
    "ls2": list[str | None] | None,
}:
    columns = {"b2": b, "i2": i, "f2": f, "t2": t, "s2": s, "z2": z, "lf2": lf, "ls2": ls}
    # Through Python's values and back, which is what is to be shown.
    return {name: column.tolist() for name, column in columns.items()}


@dataclass
class Whole:
    value: int | None


@transform
def fail(row: Whole) -> Whole:
    if row.value == 1:
        raise ValueError("one is not welcome")
    if row.value == 2:
        raise Reject("two is refused")
    return row


@dataclass
class MeanOf:
    mean: float | None


@aggregate
class Mean:
    @dataclass
    class State:
        sum: float = 0.0
        count: int = 0

    def update(self, s: State, row: Value) -> None:
        if row.value is not None:
            s.sum += row.value
            s.count += 1

    def merge(self, s: State, later: State) -> None:
        s.sum += later.sum
        s.count += later.count

    def evaluate(self, s: State, window: Window) -> MeanOf:
        return MeanOf(s.sum / s.count if s.count else None)


@dataclass
class Timed:
    time: Timestamp | None


@dataclass
class Gap:
    gap_us: int = 30_000_000


@dataclass
class SessionCount:
    sessions: int


@aggregate(ordered=True)
class Sessions:
    options: Gap

    @dataclass
    class State:
        first: Timestamp | None = None
        last: Timestamp | None = None
        sessions: int = 0

    def update(self, s: State, row: Timed) -> None:
        if row.time is None:
            raise Reject("no time")
        if s.last is None:
            s.first, s.sessions = row.time, 1
        elif row.time - s.last > self.options.gap_us:
            s.sessions += 1
        s.last = row.time

    def merge(self, s: State, later: State) -> None:
        if later.first is None or later.last is None:
            return
        if s.last is None:
            s.first, s.sessions = later.first, later.sessions
        else:
            s.sessions += later.sessions - (later.first - s.last <= self.options.gap_us)
        s.last = later.last

    def evaluate(self, s: State, window: Window) -> SessionCount:
        return SessionCount(s.sessions)


@dataclass
class Filled:
    registers: bytes
    filled: int


MASK = 2**64 - 1


def hashed(data: bytes) -> int:
    h = 0xCBF29CE484222325
    for byte in data:
        h = (h ^ byte) * 0x100000001B3 & MASK
    h = (h ^ h >> 33) * 0xFF51AFD7ED558CCD & MASK
    h = (h ^ h >> 33) * 0xC4CEB9FE1A85EC53 & MASK
    return h ^ h >> 33


@aggregate
class Registers:
    @dataclass
    class State:
        registers: bytes = bytes(64)

    def update(self, s: State, row: TextRow) -> None:
        if row.text is None:
            return
        h = hashed(row.text.encode())
        index, rest = h & 63, h >> 6 | 1 << 57
        rank = (rest & -rest).bit_length()
        if rank > s.registers[index]:
            s.registers = s.registers[:index] + bytes([rank]) + s.registers[index + 1 :]

    def merge(self, s: State, later: State) -> None:
        s.registers = bytes(map(max, s.registers, later.registers))

    def evaluate(self, s: State, window: Window) -> Filled:
        return Filled(s.registers, 64 - s.registers.count(0))


@dataclass
class Top:
    top: str | None


@aggregate
class Seen:
    @dataclass
    class State:
        counts: dict[str, int] = field(default_factory=dict)

    def update(self, s: State, row: TextRow) -> None:
        if row.text is not None:
            s.counts[row.text] = s.counts.get(row.text, 0) + 1

    def merge(self, s: State, later: State) -> None:
        for text, count in later.counts.items():
            s.counts[text] = s.counts.get(text, 0) + count

    def evaluate(self, s: State, window: Window) -> Top:
        # Python's order of texts is that of their UTF-8 bytes.
        return Top(min(s.counts, key=lambda text: (-s.counts[text], text), default=None))


@dataclass
class Said:
    said: str


def chances_of(text: str | None) -> str:
    """What differs from process to process where nobody sees to it."""
    # Not the text itself, of which a state that is made of itself would hold ever more.
    words = {f"{hash(text)} {number}" for number in range(20)}
    drawn = [random.random(), random.Random().random(), os.urandom(4).hex()]
    clocks = [time.time(), time.time_ns(), datetime.now(timezone.utc)]
    return repr([list(words), hash(text), *map(str, drawn), *map(str, clocks)])


@transform
def chance(row: TextRow) -> Said:
    return Said(chances_of(row.text))


@aggregate
class Chances:
    @dataclass
    class State:
        said: str = ""

    def update(self, s: State, row: TextRow):
        s.said = chances_of(f"{s.said} {row.text}")

    def merge(self, s: State, later: State):
        s.said = chances_of(s.said + later.said)

    def evaluate(self, s: State, window: Window) -> Said:
        return Said(chances_of(s.said))
