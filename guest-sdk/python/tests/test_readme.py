"""The README's code, as it stands there."""

import importlib
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

PYTHON = pathlib.Path(__file__).resolve().parent.parent
README = (PYTHON / "README.md").read_text()


class Readme(unittest.TestCase):
    def test_its_code_runs(self):
        blocks = re.findall(r"```python\n# (\w+)\.py\n(.*?)```", README, re.DOTALL)
        self.assertEqual([name for name, _ in blocks], ["cards", "scaled", "test_cards"])
        self.assertEqual(README.count("```python"), len(blocks))
        with tempfile.TemporaryDirectory() as folder:
            for name, code in blocks:
                pathlib.Path(folder, f"{name}.py").write_text(code)
            sys.path.insert(0, folder)
            try:
                scaled = importlib.import_module("scaled")
                loaded = unittest.defaultTestLoader.loadTestsFromName("test_cards")
                result = unittest.TestResult()
                loaded.run(result)
            finally:
                sys.path.remove(folder)
            self.assertEqual((result.testsRun, result.errors, result.failures), (2, [], []))
            self.checks_scaled(scaled)

    def checks_scaled(self, scaled):
        from millrace_sdk import testing

        rows = [{"amount": 1.5, "name": "É", "flag": True}, {"amount": -2.0, "name": None, "flag": False}]
        got = testing.run(scaled.scaled, rows).rows
        self.assertEqual(got, [{"cents": 150.0, "name": "é", "flag": False}, {"cents": -200.0, "name": None, "flag": True}])
        self.assertEqual(testing.run(scaled.positive, rows).rows, [{"amount": 1.5}])


class Build(unittest.TestCase):
    """What `build.py` says to what it cannot build, before any tool is called."""

    def says(self, code, words, name="odd"):
        with tempfile.TemporaryDirectory() as folder:
            source = pathlib.Path(folder, f"{name}.py")
            source.write_text(code)
            command = [sys.executable, str(PYTHON / "build.py"), str(source), "--componentize-py", sys.executable]
            ran = subprocess.run(command, capture_output=True, text=True, check=False)
            self.assertEqual(ran.returncode, 1)
            self.assertRegex(ran.stderr, words)

    def test_it_says_what_is_wrong_with_a_source(self):
        self.says("x = 1", "has no UDF: write @transform before a function, or @aggregate before a class")
        self.says("1 +", r"cannot be loaded: SyntaxError: invalid syntax \(odd\.py:1\)")
        self.says("x = 1\ny = z", r"cannot be loaded: NameError: name 'z' is not defined \(odd\.py:2, in <module>\)")
        self.says("from millrace_sdk import transform\n@transform\ndef f(row): ...", "f has to say the type of `row`")
        self.says("", "cannot be a module", name="odd-name")
