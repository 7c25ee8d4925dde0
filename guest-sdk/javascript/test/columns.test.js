import assert from "node:assert/strict";
import { test } from "node:test";

import { decode, encode, packBits, unpackBits } from "../src/columns.js";
import { Type, fromFormat, parseType, t } from "../src/types.js";

const NAN = Number.NaN;

function both(type, values) {
  const buffers = encode(type, values);
  assert.equal(buffers.length, type.buffers);
  assert.ok(buffers.every((buffer) => buffer instanceof Uint8Array));
  const { values: back, misfits } = decode(type, buffers, 0, values.length, type);
  assert.ok(!misfits?.includes(1));
  return Array.from(back);
}

test("what goes into a column comes out of it", () => {
  const columns = [
    [t.boolean, [true, false, true, true, false, false, true, false, true]],
    [t.int32, [0, -1, 2 ** 31 - 1, -(2 ** 31)]],
    [t.int64, [0n, -1n, 2n ** 63n - 1n, -(2n ** 63n)]],
    [t.float32, [0, -0, 1.5, Infinity]],
    [t.float64, [0, -0, 1e308, -Infinity, NAN]],
    [t.timestamp, [0n, 1_700_000_000_000_000n]],
    [t.utf8, ["", "abc", "É", "日本語", "\u{1f600}", "\ufeffmark"]],
    [t.utf8, ["only", "ascii", ""]],
    [t.binary, [new Uint8Array(0), Uint8Array.of(0, 255)]],
    [t.list(t.float64), [[1, 2], [], [3]]],
    [t.list(t.list(t.utf8)), [[["a"], []], [], [["b", "é"]]]],
  ];
  for (const [type, values] of columns) {
    assert.deepEqual(both(type, values), values, String(type));
    assert.deepEqual(both(type, []), [], `no ${type}`);
    const nulls = [null, ...values, null];
    assert.deepEqual(both(type.nullable, nulls), nulls, `${type} with nulls`);
  }
  assert.deepEqual(both(t.list(t.int64.nullable), [[1n, null], []]), [[1n, null], []]);
  assert.ok(Object.is(both(t.float64, [-0])[0], -0));
});

test("bits lie with the first the least significant", () => {
  const flags = Array.from({ length: 19 }, (_, row) => row % 3 === 0);
  const bits = packBits(flags);
  assert.deepEqual([...bits], [0b01001001, 0b10010010, 0b100]);
  assert.deepEqual(unpackBits(bits, 19), flags);
});

test("buffers that do not lie as a number needs are copied", () => {
  const [, values] = encode(t.float64, [1.5, 2.5]);
  const odd = new Uint8Array(17);
  odd.set(values, 1);
  assert.deepEqual([...decode(t.float64, [new Uint8Array(0), odd.subarray(1)], 0, 2, t.float64).values], [1.5, 2.5]);
});

test("a null where there is no place for one is a misfit", () => {
  const buffers = encode(t.float64.nullable, [1, null, 3]);
  assert.deepEqual([...decode(t.float64, buffers, 0, 3, t.float64).misfits], [0, 1, 0]);
  const lists = encode(t.list(t.utf8.nullable).nullable, [["a"], ["b", null], null]);
  assert.deepEqual([...decode(t.list(t.utf8), lists, 0, 3, t.list(t.utf8)).misfits], [0, 1, 1]);
  assert.deepEqual([...decode(t.list(t.utf8), lists, 0, 3, t.list(t.utf8).nullable).misfits], [0, 1, 0]);
});

test("narrow numbers are widened, in lists too", () => {
  const ints = encode(t.int32, [1, -2]);
  assert.deepEqual(decode(t.int32, ints, 0, 2, t.int64).values, [1n, -2n]);
  const lists = encode(t.list(t.int32), [[1], [], [-2]]);
  assert.deepEqual(decode(t.list(t.int32), lists, 0, 3, t.list(t.int64)).values, [[1n], [], [-2n]]);
});

test("values of another kind are called what they are", () => {
  const says = (type, values, words) => assert.throws(() => encode(type, values), { message: words });
  says(t.int64, [1n, 2], "it is 2 in row 1, not a bigint, such as 1n");
  says(t.int64, [2n ** 63n], "it is 9223372036854775808n in row 0, not one of 64 bits");
  says(t.int32, [1.5], "it is 1.5 in row 0, not a whole number of 32 bits");
  says(t.float64, ["1"], 'it is "1" in row 0, not a number');
  says(t.utf8, [1n], "it is 1n in row 0, not a string");
  says(t.boolean, [0], "it is 0 in row 0, not true or false");
  says(t.list(t.utf8), ["abc"], 'it is "abc" in row 0, not an array');
  says(t.utf8, ["a", null], "it is null in row 1, and its type is not .nullable");
});

test("types are named as in the contract and in project files", () => {
  assert.equal(fromFormat("+l<+l<tsu:UTC>>").toString(), "list<list<timestamp>>");
  assert.equal(parseType("list<utf8>").format, "+l<u>");
  assert.equal(fromFormat("w:16"), null);
  assert.equal(parseType("toString"), null);
  assert.equal(fromFormat("+l<".repeat(9) + "g" + ">".repeat(9)), null);
  assert.equal(new Type("utf8").nullable.isNullable, true);
});
