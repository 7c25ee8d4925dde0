#!/usr/bin/env python3
"""Makes a component of a Python file with transforms or aggregates: `build.py clean.py -o clean.wasm`.

The file is loaded here first, so that what is wrong with it is said in its own terms, and to learn what it holds. Then
componentize-py takes a snapshot of an interpreter that has loaded it. The component imports the host's log and nothing
else: WASI is replaced by stubs, and what of Python leads there by constants (`millrace_sdk.still`).
"""

from __future__ import annotations

import argparse
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
SDK = HERE / "src"
WIT = HERE.parent.parent / "wit"
ENTRY = "millrace_component"

# The worlds of the contract, by what a component holds.
WORLDS = {
    (True, False): ("transform-udf", "Transform"),
    (False, True): ("aggregate-udf", "Aggregate"),
    (True, True): ("udf", "Transform, Aggregate"),
}


def say(words: str) -> None:
    print(f"build.py: {words}", file=sys.stderr)


def fail(words: str) -> None:
    say(words)
    sys.exit(1)


def held(source: Path) -> tuple[bool, bool]:
    """Loads the author's file; whether it holds transforms, and aggregates."""
    sys.path[:0] = [str(source.parent), str(SDK)]
    sys.dont_write_bytecode = True
    from millrace_sdk import registry
    from millrace_sdk.errors import describe

    try:
        importlib.import_module(source.stem)
    except BaseException as error:
        fail(f"{source} cannot be loaded: {describe(error)}")
    names = {kind: [entry.name for entry in registry.held(kind)] for kind in ("transform", "aggregate")}
    for kind, found in names.items():
        twice = next((name for name in found if found.count(name) > 1), None)
        if twice:
            fail(f"{source} has two {kind}s called `{twice}`: call one otherwise")
    if not names["transform"] and not names["aggregate"]:
        fail(f"{source} has no UDF: write @transform before a function, or @aggregate before a class")
    return bool(names["transform"]), bool(names["aggregate"])


def componentize_py(given: str | None) -> str:
    """The tool, which has to be there."""
    beside = Path(sys.executable).parent / "componentize-py"
    for found in (given, os.environ.get("COMPONENTIZE_PY"), str(beside), shutil.which("componentize-py")):
        if found and os.access(found, os.X_OK):
            return found
    fail(f"componentize-py is missing: python3 -m pip install -r {HERE / 'requirements.txt'}")
    raise AssertionError


def copy_modules(source: Path, folder: Path) -> None:
    """The author's file and the modules beside it, without their tests."""

    def left_out(_: str, names: list[str]) -> list[str]:
        return [name for name in names if name == "__pycache__" or name.startswith(("test_", ".")) or name == "tests"]

    for path in source.parent.iterdir():
        if path.name in left_out("", [path.name]):
            continue
        if path.suffix == ".py":
            shutil.copy(path, folder)
        elif path.is_dir() and (path / "__init__.py").exists():
            shutil.copytree(path, folder / path.name, ignore=left_out)


def build(source: Path, out: Path, wit: Path, tool: str) -> None:
    """Builds one component."""
    world, classes = WORLDS[held(source)]
    with tempfile.TemporaryDirectory(prefix="millrace-python-") as temporary:
        author, entry = Path(temporary, "author"), Path(temporary, "entry")
        author.mkdir()
        entry.mkdir()
        copy_modules(source, author)
        (entry / f"{ENTRY}.py").write_text(
            "from millrace_sdk import still\n"
            f"still.before_loading()\nimport {source.stem}\n"
            f"from millrace_sdk.component import {classes}\n"
        )
        paths = [argument for folder in (SDK, author, entry) for argument in ("-p", str(folder))]
        made = Path(temporary, "made.wasm")
        command = [tool, "-d", str(wit), "-w", world, "componentize", *paths, "--stub-wasi", ENTRY, "-o", str(made)]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        if ran.returncode != 0:
            said = (ran.stdout + ran.stderr).split("Stack backtrace:")[0].strip()
            fail(f"componentize-py could not make a component of {source}:\n{said}")
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(made, out)


def main() -> None:
    parser = argparse.ArgumentParser(description="Makes a component of a Python file with transforms or aggregates.")
    parser.add_argument("source", type=Path)
    parser.add_argument("-o", "--out", type=Path, help="where it goes; else beside the source")
    parser.add_argument("--wit", type=Path, default=WIT, help="the folder of feature.wit")
    parser.add_argument("--componentize-py", help="the tool, if it is not on PATH")
    arguments = parser.parse_args()
    source = arguments.source.resolve()
    if not source.is_file():
        fail(f"there is no {arguments.source}")
    if not source.stem.isidentifier():
        fail(f"{source.name} cannot be a module: its name has to be one that Python can import, such as clean.py")
    tool = componentize_py(arguments.componentize_py)
    build(source, arguments.out or source.with_suffix(".wasm"), arguments.wit.resolve(), tool)


if __name__ == "__main__":
    main()
