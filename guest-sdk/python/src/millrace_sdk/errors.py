"""What went wrong, in one line: an exception's message, and the place in the author's code where it came from.

A component that lets an exception through traps, and the host learns nothing but that; so every call goes through
`told`.
"""

from __future__ import annotations

import os
import sys
from typing import Callable, TypeVar


class Reject(Exception):
    """Refuses the row at hand: `raise Reject("negative amount")`. The host keeps it as a dead letter with the reason."""

    def __init__(self, reason: str = "refused") -> None:
        super().__init__(reason)
        self.reason = str(reason)


class Misfit(Exception):
    """What the author or the project's author did wrong, in words of its own: needs no name of a class before it."""


_OURS = os.path.dirname(__file__) + "/"
_LIBRARY = os.path.dirname(os.__file__) + "/"


def _is_authors(file: str) -> bool:
    """Whether a file is the author's: what was installed beside the standard library is, as far as that goes."""
    library = file.startswith(_LIBRARY) and "site-packages" not in file
    return not (file.startswith("<") or library or file.startswith(_OURS))


def file_of(path: str) -> str:
    """A file as the author knows it: from where modules are found. Looks at names alone, since there may be no files."""
    inside = [folder for folder in sys.path if folder and path.startswith(folder.rstrip("/") + "/")]
    return path[len(max(inside, key=len).rstrip("/")) + 1 :] if inside else path.rsplit("/", 1)[-1]


def place_of(error: BaseException) -> str | None:
    """The innermost line of the author's code that an exception came through: `clean.py:12, in clean`."""
    place, at = None, error.__traceback__
    while at is not None:
        code = at.tb_frame.f_code
        if _is_authors(code.co_filename):
            place = f"{file_of(code.co_filename)}:{at.tb_lineno}, in {code.co_name}"
        at = at.tb_next
    return place


def describe(error: BaseException) -> str:
    """An exception in one line: `ValueError: one is not welcome (clean.py:12, in clean)`."""
    said = str(error)
    if not isinstance(error, (Misfit, Reject)):
        said = f"{type(error).__name__}: {said}" if said else type(error).__name__
    if isinstance(error, SyntaxError) and error.filename:
        return f"SyntaxError: {error.msg} ({file_of(error.filename)}:{error.lineno})"
    place = place_of(error)
    return f"{said} ({place})" if place else said


_T = TypeVar("_T")


def told(call: Callable[..., _T], *arguments: object) -> _T:
    """Calls, and raises a `Misfit` that tells of whatever was raised, even if it asked the interpreter to end."""
    try:
        return call(*arguments)
    except BaseException as error:  # nothing may get past this
        try:
            words = describe(error)
        except BaseException:  # an exception that cannot even be shown
            words = type(error).__name__
    raise Misfit(words)


def place_of_function(function: Callable[..., object]) -> str:
    """Where a function stands: `clean.py:10`."""
    code = getattr(function, "__code__", None)
    return f"{file_of(code.co_filename)}:{code.co_firstlineno}" if code else "?"
