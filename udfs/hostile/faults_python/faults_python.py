"""What must not bring a component in Python down, one kind a row: each comes out as an error in words, or as a constant."""

import datetime
import os
import random
import time
from dataclasses import dataclass

from millrace_sdk import transform


@dataclass
class Row:
    kind: str


@dataclass
class Said:
    said: str


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError("this one keeps its secret")


def forever(depth: int) -> int:
    return forever(depth + 1) + 1


@transform
def faults(row: Row) -> Said:
    match row.kind:
        case "raise":
            raise ValueError("words")
        case "mute":
            raise Mute
        case "exit":
            raise SystemExit(3)
        case "recursion":
            forever(0)
        case "memory":
            bytearray(1 << 30)
        case "file":
            open("/etc/passwd")
        case "folder":
            os.listdir("/")
        case "import":
            import decimal  # noqa: F401
        case "surrogate":
            return Said("\ud800")
        case "type":
            return Said(7)  # type: ignore[arg-type]
        case "clock":
            return Said(f"{time.time()} {time.time_ns()} {datetime.datetime.now(datetime.timezone.utc).year}")
        case "chance":
            return Said(f"{random.random():.6f} {random.Random().random():.6f} {os.urandom(2).hex()}")
        case "print":
            print("a line")
    return Said("nothing happened")
