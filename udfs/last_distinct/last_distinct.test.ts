import assert from "node:assert/strict";
import { test } from "node:test";

import { fold } from "millrace-sdk/testing";
import { lastDistinct } from "./last_distinct.ts";

const last = (values: (string | null)[], n?: number) =>
  fold(lastDistinct, values.map((value) => ({ value })), { options: n === undefined ? {} : { n } });

test("each value is there once, where it was last", () => {
  assert.deepEqual(last(["fuel", "food", "fuel", null, "food", "food"]).evaluate(), ["food", "fuel"]);
  assert.deepEqual(last(["a", "b", "c", "a", "d"], 3).evaluate(), ["d", "a", "c"]);
  assert.deepEqual(last([]).evaluate(), []);
  assert.deepEqual(last([null]).evaluate(), []);
  assert.deepEqual(last(["", "é", ""]).evaluate(), ["", "é"]);
});

test("a later stretch of time comes before an earlier", () => {
  const values = ["a", "b", "c", "b", "d", "a", "e", "b", "b", "c"];
  for (const n of [1, 2, 3, 5]) {
    for (let cut = 0; cut <= values.length; cut += 1) {
      const merged = last(values.slice(0, cut), n).merge(last(values.slice(cut), n));
      assert.deepEqual(merged.evaluate(), last(values, n).evaluate(), `${n} ${cut}`);
    }
  }
});

test("how many there may be is bounded", () => {
  assert.throws(() => last([], 0), /`n`: it is not within 1 to 100/);
  assert.throws(() => last([], 1.5), /`n`: 1.5 is not a whole number/);
});
