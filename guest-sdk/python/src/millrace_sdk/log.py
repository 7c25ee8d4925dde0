"""Lines for the host's log, which limits their rate. In the author's own tests they go to standard error."""

from __future__ import annotations

import sys
from typing import Callable

_LEVELS = ("debug", "info", "warn", "error")


def _write_to_stderr(level: str, message: str) -> None:
    sys.stderr.write(f"{level}: {message}\n")


write: Callable[[str, str], None] = _write_to_stderr
"""Where lines go: a component puts the host's log here."""


def debug(message: object) -> None:
    """A line for whoever looks for a fault."""
    write("debug", str(message))


def info(message: object) -> None:
    """A line for whoever watches."""
    write("info", str(message))


def warn(message: object) -> None:
    """A line about something that is not as it should be."""
    write("warn", str(message))


def error(message: object) -> None:
    """A line about something that failed."""
    write("error", str(message))
