"""Python without an outside. In a component WASI's functions are stubs that trap, and a trap says nothing: so what of
Python leads there gives constants (the time, chance) or an error in words (files, late imports).

`before_loading` runs before the author's module is loaded, so that a `from time import time` finds the clock that stands
still; `after_loading` once it is, when no file is read any more; `before_call` before each call of the host.
"""

from __future__ import annotations

import builtins
import datetime
import io
import os
import random
import sys
import time
from typing import Any, NoReturn

# What the clock shows, in seconds since 1970.
_NOW = 0.0


def before_loading() -> None:
    """Stops the clock, and makes chance the same each time."""
    for name in ("time", "monotonic", "perf_counter", "process_time", "thread_time"):
        setattr(time, name, lambda: _NOW)
        setattr(time, f"{name}_ns", lambda: int(_NOW))
    time.sleep = lambda _seconds: None
    for name in ("gmtime", "localtime", "ctime"):
        setattr(time, name, _from_now(getattr(time, name)))
    strftime, asctime, utc = time.strftime, time.asctime, time.gmtime
    time.strftime = lambda format, moment=None: strftime(format, moment or utc(_NOW))  # type: ignore[assignment]
    time.asctime = lambda moment=None: asctime(moment or utc(_NOW))  # type: ignore[assignment]
    datetime.date = _Date  # type: ignore[misc]
    datetime.datetime = _Datetime  # type: ignore[misc]
    os.urandom = bytes  # zeros
    random._urandom = bytes  # type: ignore[attr-defined]
    random.Random = _Random  # type: ignore[misc]
    random._inst.seed(0)  # type: ignore[attr-defined]


def _from_now(function: Any) -> Any:
    return lambda seconds=None: function(_NOW if seconds is None else seconds)


class _Date(datetime.date):
    """Dates whose today is always the same."""

    @classmethod
    def today(cls) -> Any:
        return cls.fromtimestamp(_NOW)


class _Datetime(datetime.datetime):
    """Times whose now is always the same."""

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return cls.fromtimestamp(_NOW, tz)

    @classmethod
    def utcnow(cls) -> Any:
        return cls(1970, 1, 1)

    @classmethod
    def today(cls) -> Any:
        return cls.fromtimestamp(_NOW)


class _Random(random.Random):
    """A generator that begins at the same place where it is not told another."""

    def __init__(self, x: Any = None) -> None:
        super().__init__(0 if x is None else x)

    def seed(self, a: Any = None, version: int = 2) -> None:
        super().seed(0 if a is None else a, version)


def _refuse(*_: Any, **__: Any) -> NoReturn:
    raise OSError("a component has no files, and no way out but the log")


class _Late:
    """Answers for modules that were not loaded when the component was made."""

    def find_spec(self, name: str, _path: Any = None, _target: Any = None) -> None:
        raise ModuleNotFoundError(
            f"`{name}` was not loaded when the component was made, and there are no files to load it from now: "
            "import it at the top of the module",
            name=name,
        )


_FILES = (
    "access chdir chmod close fstat getcwd getcwdb link listdir lseek lstat mkdir open read readlink remove rename "
    "replace rmdir scandir stat symlink truncate unlink urandom utime write"
).split()


def after_loading() -> None:
    """Takes the files away."""
    for name in _FILES:
        if hasattr(os, name) and name != "urandom":
            setattr(os, name, _refuse)
    builtins.open = io.open = _refuse  # type: ignore[assignment]
    builtins.input = _refuse
    sys.stdin = None  # type: ignore[assignment]
    inside = [finder for finder in sys.meta_path if getattr(finder, "__name__", "") in ("BuiltinImporter", "FrozenImporter")]
    sys.meta_path = [*inside, _Late()]  # type: ignore[list-item]


def before_call() -> None:
    """Makes chance begin anew, so that no call depends on those before it."""
    random._inst.seed(0)  # type: ignore[attr-defined]
