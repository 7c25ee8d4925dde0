import assert from "node:assert/strict";
import { test } from "node:test";

import { compareText, pack, unpack } from "../src/messagepack.js";

const hex = (value) => Buffer.from(pack(value)).toString("hex");

test("each value has one form, the shortest", () => {
  const forms = [
    [0, "00"], [127, "7f"], [128, "cc80"], [256, "cd0100"], [65536, "ce00010000"], [2 ** 32, "cf0000000100000000"],
    [-1, "ff"], [-32, "e0"], [-33, "d0df"], [-129, "d1ff7f"], [-32769, "d2ffff7fff"], [-(2 ** 31) - 1, "d3ffffffff7fffffff"],
    [2n ** 64n - 1n, "cfffffffffffffffff"], [-(2n ** 63n), "d38000000000000000"], [5n, "05"],
    [1.5, "cb3ff8000000000000"], [-0, "cb8000000000000000"], [null, "c0"], [true, "c3"], [false, "c2"],
    ["", "a0"], ["é", "a2c3a9"], [[1, "a"], "9201a161"], [Uint8Array.of(1, 2), "c4020102"],
    [new Map([["b", 1], ["a", 2]]), "82a16102a16201"], [{ b: 1, a: 2 }, "82a16102a16201"], [new Set([10, 9, 2]), "9302090a"],
  ];
  for (const [value, form] of forms) assert.equal(hex(value), form);
  assert.equal(hex("x".repeat(32)).slice(0, 4), "d920");
  assert.equal(hex(new Array(16).fill(0)).slice(0, 6), "dc0010");
  assert.equal(pack("x".repeat(70_000)).length, 70_005);
});

test("what was packed is unpacked", () => {
  const value = { a: [1, -1, 1.5, null, true, "é", 2n ** 63n], b: { c: [] }, d: Uint8Array.of(7) };
  assert.deepEqual(unpack(pack(value)), value);
  const map = new Map([["x", 1], ["y", [2]]]);
  assert.deepEqual(unpack(pack(map), true), map);
  for (const bytes of [[0x92, 1], [0xa5, 65], [0xc1], [1, 1], []]) assert.throws(() => unpack(Uint8Array.from(bytes)));
});

test("texts are sorted by their UTF-8 bytes, and not by halves of surrogate pairs", () => {
  const texts = ["", "a", "ab", "b", "é", "\ue000", "\uffff", "\u{10000}", "\u{1f600}", "\u{1f600}a"];
  const bytes = [...texts].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  assert.deepEqual([...texts].reverse().sort(compareText), bytes);
});

test("what cannot be kept is named", () => {
  assert.throws(() => pack({ f: () => 1 }), { message: "a function cannot be kept in a state" });
  assert.throws(() => pack(new Date(0)), { message: "a Date cannot be kept in a state" });
  assert.throws(() => pack(new Map([[{}, 1], [2, 3]])), { message: "{} cannot be a key in a state: it has no order" });
  assert.throws(() => pack(2n ** 64n), { message: "18446744073709551616 does not fit into 64 bits" });
});
