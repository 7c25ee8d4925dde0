from dataclasses import dataclass
from millrace_sdk import transform, Reject

@dataclass
class Options:
    factor: float = 2.0

@dataclass
class Value:
    value: float | None

@transform
def multiply(row: Value, options: Options) -> Value:
    return Value(None if row.value is None else row.value * options.factor)

@dataclass
class Int:
    value: int | None

@transform
def fail(row: Int) -> Int:
    if row.value == 1:
        raise ValueError("one is not welcome")
    if row.value == 2:
        raise Reject("two is refused")
    if row.value == 3:
        import time
        return Int(time.time_ns())
    if row.value == 4:
        import random
        return Int(int(random.random()*1000))
    if row.value == 5:
        import os
        return Int(os.urandom(1)[0])
    if row.value == 6:
        import datetime
        return Int(int(datetime.datetime.now().timestamp()))
    if row.value == 7:
        print("hello")
    if row.value == 8:
        open("/x")
    if row.value == 9:
        import sys
        sys.exit(3)
    if row.value == 10:
        def f(n): return f(n+1)+1
        f(0)
    if row.value == 11:
        import uuid
        return Int(uuid.uuid4().int % 1000)
    if row.value == 12:
        x = [0] * (1 << 30)
    if row.value == 13:
        import decimal
        return Int(int(decimal.Decimal(3)))
    if row.value == 14:
        import time
        time.sleep(1)
    if row.value == 15:
        import os
        os.listdir("/")
    return row

from millrace_sdk import Column
@transform.columns
def bench_columns(value: Column[float], flag: Column[bool], text: Column[str]) -> {"value": float, "flag": bool, "text": str}:
    from array import array
    return {"value": array("d", [v * 1.5 + 1.0 for v in value.values]), "flag": ~flag, "text": text.lower()}

@dataclass
class Bench:
    value: float
    flag: bool
    text: str

@transform
def bench_rows(row: Bench) -> Bench:
    return Bench(row.value * 1.5 + 1.0, not row.flag, row.text.lower())

@transform
def hashed(row: Int) -> Int:
    return Int(hash("abc"))
