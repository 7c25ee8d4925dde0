import unittest

from millrace_sdk import testing
from normalised_text import normalised_text


def normal(*texts, **options):
    return [row["text"] for row in testing.run(normalised_text, [{"text": text} for text in texts], options).rows]


class NormalisedText(unittest.TestCase):
    def test_texts_that_people_take_for_the_same_are_the_same(self):
        self.assertEqual(normal("  Ｃａｆé\tMÜLLER ", "CAFE\u0301 Müller", "cafe\u00a0muller"), ["cafe muller"] * 3)
        self.assertEqual(normal("Straße", "STRASSE", "ﬁne"), ["strasse", "strasse", "fine"])

    def test_nulls_and_nothing_stay(self):
        self.assertEqual(normal(None, "", " \t"), [None, "", ""])

    def test_each_part_can_be_left_out(self):
        self.assertEqual(normal("Café Nº 5", accents=False), ["café no 5"])
        self.assertEqual(normal("Café", case=False), ["Cafe"])
        self.assertEqual(normal("SQ *BLUE-HERON’s", punctuation=True), ["sq blue heron s"])
        self.assertEqual(normal("SQ *BLUE-HERON", punctuation=True), ["sq blue heron"])
        self.assertEqual(normal("日本語、テスト", punctuation=True, accents=False), ["日本語 テスト"])

    def test_it_is_done_once_and_for_all(self):
        texts = ["  Ｃａｆé\tMÜLLER ", "ẞ", "İstanbul", "Ⅷ", "½", "a\u0000b"]
        once = normal(*texts)
        self.assertEqual(normal(*once), once)

    def test_other_options_are_refused(self):
        with self.assertRaisesRegex(ValueError, "unknown field `accent`, expected one of `case`, `accents`, `punctuation`"):
            normal("a", accent=True)


if __name__ == "__main__":
    unittest.main()
