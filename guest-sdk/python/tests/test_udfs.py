import unittest
from collections.abc import Iterator
from dataclasses import dataclass, field

from millrace_sdk import Column, Mapped, Reject, Span, Timestamp, Window, aggregate, registry, testing, transform
from millrace_sdk.aggregate import snake
from millrace_sdk.bind import Field


@dataclass
class Options:
    units: float = 100.0


@dataclass
class In:
    merchant: str | None
    amount: float


@dataclass
class Out:
    category: str
    cents: int


@transform
def clean(row: In, options: Options) -> Out | None:
    if row.amount < 0:
        raise Reject("negative amount")
    if row.merchant == "skip":
        return None
    return Out((row.merchant or "unknown").strip().lower(), round(row.amount * options.units))


@dataclass
class Number:
    n: int


@dataclass
class Word:
    word: str


@dataclass
class Line:
    text: str


@transform
def words(row: Line) -> Iterator[Word]:
    for word in row.text.split():
        if word == "bad":
            raise Reject("a bad word")
        yield Word(word)


@transform
def amiss(row: Number) -> Number:
    if row.n == 1:
        raise ValueError("one is not welcome")
    if row.n == 2:
        raise StopIteration
    if row.n == 3:
        return 7  # type: ignore[return-value]
    if row.n == 4:
        return Number("x")  # type: ignore[arg-type]
    if row.n == 5:
        raise SystemExit(3)
    return {1: row}[row.n]


@transform.columns
def scale(amount: Column[float], name: Column[str | None], flag: Column[bool], at: Column[int]) -> {
    "cents": float,
    "name": str | None,
    "flag": bool,
    "at": int,
}:
    return {"cents": [a * 100 for a in amount.values], "name": name.lower(), "flag": ~flag, "at": at.values.tolist()}


@transform.columns
def every_other(n: Column[int], options: dict) -> {"n": int}:
    kept = list(range(0, len(n), 2))
    return Mapped({"n": [n.values[row] for row in kept]}, kept, [(1, "odd")] if options else ())


@transform.columns(output={"n": int})
def doubled(n: Column[int]) -> dict[str, list[int]]:
    return {"n": [2 * value for value in n]}


class Transforms(unittest.TestCase):
    def test_columns_may_be_said_to_the_decorator(self):
        self.assertEqual(testing.run(doubled, [{"n": 3}]).rows, [{"n": 6}])

    def test_rows_are_mapped_filtered_and_refused(self):
        rows = [{"merchant": " Shell ", "amount": 1.5}, {"merchant": "skip", "amount": 1}, {"amount": -1}, {}, {"amount": 2}]
        got = testing.run(clean, rows, {"units": 1000}, {"amount": "float64?"})
        self.assertEqual(got.rows, [{"category": "shell", "cents": 1500}, {"category": "unknown", "cents": 2000}])
        self.assertEqual(got.origin, [0, 4])
        self.assertEqual(got.rejected, [(2, "negative amount"), (3, "`amount` is null, or holds a null")])
        self.assertEqual(testing.run(clean, []).rows, [])

    def test_the_function_stays_as_it_is(self):
        self.assertEqual(clean(In("a", 1.0), Options()), Out("a", 100))

    def test_rows_become_several_and_are_refused_late(self):
        got = testing.run(words, [{"text": "a b"}, {"text": "c bad"}, {"text": ""}, {"text": "d"}])
        self.assertEqual([row["word"] for row in got.rows], ["a", "b", "d"])
        self.assertEqual((got.origin, got.rejected), ([0, 0, 3], [(1, "a bad word")]))

    def test_what_is_raised_or_returned_amiss_is_the_calls_error_with_its_place(self):
        here = r"tests/test_udfs\.py:\d+|test_udfs\.py:\d+"
        for n, words in [
            (1, rf"^ValueError: one is not welcome \(({here}), in amiss\)$"),
            (2, rf"^StopIteration, raised for row 0 \(in amiss \(({here})\)\)$"),
            (3, rf"^amiss \(({here})\) returned an int where a Number, None or several belong$"),
            (4, rf"^amiss \(({here})\): column `n` \(int64\): TypeError"),
            (5, rf"^SystemExit: 3 \(({here}), in amiss\)$"),
            (6, rf"^KeyError: 6 \(({here}), in amiss\)$"),
        ]:
            with self.subTest(n), self.assertRaisesRegex(ValueError, words):
                testing.run(amiss, [{"n": n}])

    def test_whole_columns_go_through(self):
        rows = [{"amount": 1.5, "name": "É", "flag": True, "at": 7}, {"amount": 2.0, "name": None, "flag": False, "at": 8}]
        scaled = [{"cents": 150.0, "name": "é", "flag": False, "at": 7}, {"cents": 200.0, "name": None, "flag": True, "at": 8}]
        self.assertEqual(testing.run(scale, rows).rows, scaled)
        self.assertEqual(testing.run(scale, rows, columns={"amount": "float32", "at": "int32"}).rows, scaled)
        words = "column `amount` may be null, wanted float64 without nulls: map `coalesce\\(amount, …\\)` to `amount`"
        with self.assertRaisesRegex(ValueError, words):
            testing.run(scale, rows, columns={"amount": "float64?"})

    def test_whole_columns_say_where_rows_came_from(self):
        _, _, bound = every_other.__millrace__.bind([Field("n", "l", False)], '{"refuse": 1}')
        numbers = b"".join(n.to_bytes(8, "little") for n in (5, 6, 7))
        done = bound.apply(3, [[b"", numbers]])
        self.assertEqual((done.rows, done.origin, done.rejected), (2, b"\0\0\0\0\2\0\0\0", [(1, "odd")]))


class Binding(unittest.TestCase):
    def test_every_misfit_is_named_at_once(self):
        columns = {"merchant": None, "merchnt": "utf8", "amount": "utf8"}
        with self.assertRaises(ValueError) as raised:
            testing.run(clean, [], {"unit": 1}, columns)
        self.assertEqual(
            str(raised.exception),
            "no column `merchant` (utf8) among `merchnt`, `amount`: map one to it, as in { merchant = \"merchnt\" }; "
            "column `amount` is utf8, wanted float64: map an expression of that type to `amount`; "
            "options: unknown field `unit`, expected `units`",
        )

    def test_a_format_that_is_not_known_is_named(self):
        words = "column `amount` has the format `w:16`, which this UDF's SDK does not know"
        with self.assertRaisesRegex(ValueError, words):
            testing.run(clean, [], columns={"amount": "w:16"})

    def test_annotations_that_are_no_columns_are_refused_when_they_are_read(self):
        with self.assertRaisesRegex(TypeError, "which no column can be"):

            @dataclass
            class Odd:
                value: complex

            @transform
            def odd(row: Odd) -> Out:
                raise NotImplementedError

        with self.assertRaisesRegex(TypeError, "bare has to say what it returns"):

            @transform
            def bare(row: In):
                return None


@dataclass
class Decay:
    half_life: Span
    names: list[str] = field(default_factory=list)

    def __post_init__(self):
        if self.half_life <= 0:
            raise ValueError("`half-life` is no time at all")


@dataclass
class Amount:
    amount: float


@aggregate
class Spread:
    options: Decay

    @dataclass
    class State:
        least: float | None = None
        most: float | None = None
        seen: dict[str, int] = field(default_factory=dict)
        tags: set[float] = field(default_factory=set)

    def update(self, s: State, row: Amount) -> None:
        s.least = row.amount if s.least is None else min(s.least, row.amount)
        s.most = row.amount if s.most is None else max(s.most, row.amount)
        s.seen[str(row.amount)] = s.seen.get(str(row.amount), 0) + 1
        s.tags.add(row.amount)
        if row.amount < 0:
            raise Reject("negative amount")

    def merge(self, s: State, later: State) -> None:
        for amount in (later.least, later.most):
            if amount is not None:
                self.update(s, Amount(amount))

    def evaluate(self, s: State, window: Window) -> float | None:
        if s.least is None or s.most is None:
            return None
        return s.most - s.least + 1000 * len(s.tags) + (window.until - window.since) / self.options.half_life


OPTIONS = {"half-life": "1s"}


class Aggregates(unittest.TestCase):
    def test_rows_are_folded_and_a_refused_one_leaves_no_trace(self):
        folded = testing.fold(Spread, [{"amount": amount} for amount in (3, -7, 1, -8, 3)], OPTIONS)
        self.assertEqual(folded.rejected, [(1, "negative amount"), (3, "negative amount")])
        self.assertEqual(folded.evaluate(0, 500_000), 2002.5)
        self.assertIsNone(testing.fold(Spread, [], OPTIONS).evaluate())
        later = testing.fold(Spread, [{"amount": 11}], OPTIONS)
        self.assertEqual(folded.merge(later).evaluate(), 3010.0)

    def test_a_state_has_plain_columns_and_packed_ones(self):
        signature, bound = Spread.__millrace__.bind([Field("amount", "f", True)], '{"half-life": "5m"}')
        self.assertEqual([f"{name} {format}" for name, format, _ in signature.state], ["least g", "most g", "seen z", "tags z"])
        self.assertEqual(signature.output, [Field("value", "g", True)])
        self.assertEqual(bound.initial(2)[2][2], b"\x80\x80")
        with self.assertRaisesRegex(Exception, "group 1 is not among the state's rows"):
            bound.merge(1, bound.initial(1), b"\1\0\0\0", 1, bound.initial(1))

    def test_options_have_types_defaults_and_checks(self):
        for options, words in [
            ({}, "options: missing field `half-life`"),
            ({"half-life": "5"}, "`5` is not a duration"),
            ({"half-life": 5}, "`half-life`: 5 is not a duration such as \"5m\""),
            ({"half-life": "0s"}, "options: `half-life` is no time at all"),
            ({"half-life": "1s", "names": [1]}, "options: `names`: 1 is not a text"),
            ({"half-life": "1s", "name": []}, "options: unknown field `name`, expected one of `half-life`, `names`"),
        ]:
            with self.subTest(options), self.assertRaisesRegex(ValueError, words):
                testing.fold(Spread, [], options)

    def test_classes_are_called_in_snake_case(self):
        self.assertEqual([snake(name) for name in ("LastCategories", "Ewma", "HTTPStatus2")], ["last_categories", "ewma", "http_status2"])
        self.assertIn("spread", [entry.name for entry in registry.held("aggregate")])

    def test_a_state_without_defaults_needs_an_initial(self):
        with self.assertRaisesRegex(TypeError, "needs a default for each field, or Odd an `initial`"):

            @aggregate
            class Odd:
                @dataclass
                class State:
                    at: Timestamp

                def update(self, s: State, row: Amount) -> None: ...

                def merge(self, s: State, later: State) -> None: ...

                def evaluate(self, s: State, window: Window) -> float:
                    return 0.0
