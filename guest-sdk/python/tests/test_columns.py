import math
import unittest
from array import array

from millrace_sdk.columns import decode, encode, pack_bits, unpack_bits
from millrace_sdk.errors import Misfit
from millrace_sdk.types import Shape, Type, from_format, parse, shape_of


def both(shape, values):
    buffers = encode(shape, values)
    assert len(buffers) == shape.type.buffers and all(type(buffer) is bytes for buffer in buffers)
    back, fits = decode(shape.type, iter(buffers), len(values), shape)
    assert fits is None or 0 not in fits
    return back


class Columns(unittest.TestCase):
    def test_what_goes_into_a_column_comes_out_of_it(self):
        columns = [
            (bool, [True, False, True, True, False, False, True, False, True]),
            (int, [0, -1, 2**63 - 1, -(2**63)]),
            (float, [0.0, -0.0, 1e308, -math.inf]),
            (str, ["", "abc", "É", "日本語", "\U0001f600"]),
            (str, ["only", "ascii", ""]),
            (bytes, [b"", b"\0\xff"]),
            (list[float], [[1.0, 2.0], [], [3.0]]),
            (list[list[str]], [[["a"], []], [], [["b", "é"]]]),
        ]
        for hint, values in columns:
            with self.subTest(hint):
                self.assertEqual(both(shape_of(hint), values), values)
                self.assertEqual(both(shape_of(hint), []), [])
                nulls = [None, *values, None]
                self.assertEqual(both(shape_of(hint | None), nulls), nulls)
        self.assertEqual(both(shape_of(list[int | None]), [[1, None], []]), [[1, None], []])
        self.assertEqual(math.copysign(1, both(shape_of(float), [-0.0])[0]), -1)

    def test_bits_lie_with_the_first_the_least_significant(self):
        flags = bytes(row % 3 == 0 for row in range(19))
        self.assertEqual(pack_bits(flags), bytes([0b01001001, 0b10010010, 0b100]))
        self.assertEqual(unpack_bits(pack_bits(flags), 19), flags)

    def test_a_null_where_there_is_no_place_for_one_is_a_misfit(self):
        buffers = encode(shape_of(float | None), [1.0, None, 3.0])
        self.assertEqual(decode(Type("float64"), iter(buffers), 3, shape_of(float))[1], bytes([1, 0, 1]))
        kind = parse("list<utf8>")
        lists = encode(shape_of(list[str | None] | None), [["a"], ["b", None], None])
        self.assertEqual(decode(kind, iter(lists), 3, shape_of(list[str]))[1], bytes([1, 0, 0]))
        self.assertEqual(decode(kind, iter(lists), 3, shape_of(list[str] | None))[1], bytes([1, 0, 1]))

    def test_values_of_another_kind_are_refused(self):
        for hint, values in [(int, [1.5]), (float, ["x"]), (str, [1]), (bytes, ["x"]), (int, [None]), (bool, [2])]:
            with self.subTest(hint), self.assertRaises((TypeError, Misfit)):
                encode(shape_of(hint), values)
        with self.assertRaisesRegex(Misfit, "it is None in row 1, and not declared `| None`"):
            encode(shape_of(str), ["a", None])
        with self.assertRaisesRegex(Misfit, "it has a str where a list belongs"):
            encode(shape_of(list[str]), ["abc"])
        with self.assertRaises(OverflowError):
            encode(shape_of(int), [2**63])

    def test_short_buffers_are_called_short(self):
        with self.assertRaisesRegex(Misfit, "its values buffer has 8 bytes where 16 belong"):
            decode(Type("int64"), iter([b"", bytes(8)]), 2, Shape(Type("int64")))
        with self.assertRaisesRegex(Misfit, "its offsets buffer"):
            decode(Type("utf8"), iter([b"", array("i", [0]).tobytes(), b""]), 2, Shape(Type("utf8")))

    def test_types_are_named_as_in_the_contract_and_in_project_files(self):
        self.assertEqual(str(from_format("+l<+l<tsu:UTC>>")), "list<list<timestamp>>")
        self.assertEqual(parse("list<utf8>").format, "+l<u>")
        self.assertIsNone(from_format("w:16"))
        self.assertIsNone(from_format("+l<" * 9 + "g" + ">" * 9))
        self.assertIsNone(shape_of(dict[str, int]))
