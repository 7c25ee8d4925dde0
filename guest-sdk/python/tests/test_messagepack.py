import collections
import dataclasses
import unittest

from millrace_sdk.errors import Misfit
from millrace_sdk.messagepack import pack, reader_of, unpack


@dataclasses.dataclass
class Point:
    x: int
    names: set[str]


class MessagePack(unittest.TestCase):
    def test_each_value_has_one_form_the_shortest(self):
        forms = [
            (0, "00"), (127, "7f"), (128, "cc80"), (256, "cd0100"), (65536, "ce00010000"), (2**32, "cf0000000100000000"),
            (-1, "ff"), (-32, "e0"), (-33, "d0df"), (-129, "d1ff7f"), (-32769, "d2ffff7fff"),
            (-(2**31) - 1, "d3ffffffff7fffffff"), (2**64 - 1, "cfffffffffffffffff"), (-(2**63), "d38000000000000000"),
            (1.5, "cb3ff8000000000000"), (-0.0, "cb8000000000000000"), (None, "c0"), (True, "c3"), (False, "c2"),
            ("", "a0"), ("é", "a2c3a9"), ([1, "a"], "9201a161"), (b"\1\2", "c4020102"), ((1,), "9101"),
            ({"b": 1, "a": 2}, "82a16102a16201"), ({10, 9, 2}, "9302090a"), (collections.deque([3]), "9103"),
            (Point(1, {"b", "a"}), "920192a161a162"),
        ]  # fmt: skip
        for value, form in forms:
            with self.subTest(value):
                self.assertEqual(pack(value).hex(), form)
        self.assertEqual(pack("x" * 32).hex()[:4], "d920")
        self.assertEqual(pack([0] * 16).hex()[:6], "dc0010")
        self.assertEqual(len(pack("x" * 70_000)), 70_005)

    def test_what_was_packed_is_unpacked(self):
        value = {"a": [1, -1, 1.5, None, True, "é", 2**63, "x" * 300, b"y" * 300], "b": {"c": []}, "d": b"\7", "e": -(2**40)}
        self.assertEqual(unpack(pack(value)), value)
        many = {str(n): n for n in range(70_000)}
        self.assertEqual(unpack(pack(many)), many)
        for data in (b"\x92\1", b"\xa5A", b"\xc1", b"\1\1", b"", b"\xcd\1"):
            with self.subTest(data), self.assertRaises(Misfit):
                unpack(data)

    def test_annotations_are_read_back(self):
        hints = [
            (dict[str, int], {"a": 1}),
            (set[str], {"b", "a"}),
            (dict[str, set[int]], {"a": {2, 1}}),
            (tuple[int, ...], (1, 2)),
            (tuple[str, frozenset[int]], ("a", frozenset({1}))),
            (collections.Counter[str], collections.Counter("abca")),
            (list[Point], [Point(1, {"x"})]),
            (collections.deque[int], collections.deque([1, 2])),
            (dict[tuple[int, str], float], {(1, "a"): 1.5}),
            (set[int] | None, None),
        ]
        for hint, value in hints:
            with self.subTest(hint):
                read = reader_of(hint) or (lambda plain: plain)
                back = read(unpack(pack(value)))
                self.assertEqual((back, type(back)), (value, type(value)))

    def test_what_cannot_be_kept_is_named(self):
        with self.assertRaisesRegex(Misfit, "object cannot be kept in a state"):
            pack({"a": object()})
        with self.assertRaisesRegex(Misfit, "does not fit into 64 bits"):
            pack(2**64)
        with self.assertRaisesRegex(TypeError, "complex cannot be kept in a state"):
            reader_of(dict[str, complex])
