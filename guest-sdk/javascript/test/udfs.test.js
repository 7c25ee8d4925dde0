import assert from "node:assert/strict";
import { test } from "node:test";

import { aggregate, mapped, option, reject, t, transform } from "../src/index.js";
import { held } from "../src/component.js";
import { fold, run } from "../src/testing.js";

const clean = transform({
  name: "clean",
  input: { merchant: t.utf8.nullable, amount: t.float64 },
  output: { category: t.utf8, cents: t.int64 },
  options: { units: option.number(100) },
  row: (r, o) => r.amount < 0 ? reject("negative amount")
    : r.merchant === "skip" ? null
    : { category: (r.merchant ?? "unknown").trim().toLowerCase(), cents: BigInt(Math.round(r.amount * o.units)) },
});

test("rows are mapped, filtered and refused", () => {
  const rows = [{ merchant: " Shell ", amount: 1.5 }, { merchant: "skip", amount: 1 }, { merchant: "x", amount: -1 }, { amount: null }, { amount: 2 }];
  const got = run(clean, rows, { options: { units: 1000 }, columns: { amount: "float64?" } });
  assert.deepEqual(got.rows, [{ category: "shell", cents: 1500n }, { category: "unknown", cents: 2000n }]);
  assert.deepEqual(got.origin, [0, 4]);
  assert.deepEqual(got.rejected, [[2, "negative amount"], [3, "`amount` is null, or holds a null"]]);
  assert.deepEqual(run(clean, []), { rows: [], origin: [], rejected: [] });
});

test("rows become several, from arrays and generators, and are refused late", () => {
  const words = transform({
    name: "words",
    input: { text: t.utf8 },
    output: { word: t.utf8 },
    *row(r) {
      for (const word of r.text.split(" ")) {
        if (word === "bad") throw reject("a bad word");
        yield { word };
      }
    },
  });
  const got = run(words, [{ text: "a b" }, { text: "c bad" }, { text: "d" }]);
  assert.deepEqual(got, { rows: [{ word: "a" }, { word: "b" }, { word: "d" }], origin: [0, 0, 2], rejected: [[1, "a bad word"]] });
});

test("more rows than are objects at a time keep their numbers", () => {
  const odd = transform({
    name: "odd",
    input: { n: t.int64 },
    output: { n: t.int64 },
    row: ({ n }) => (n < 1200n ? { n } : n % 2n === 0n ? null : n === 1501n ? reject("no") : { n }),
  });
  const { signature, apply } = odd.bind([{ name: "n", format: "l", nullable: false }], "{}");
  assert.deepEqual(signature.input, ["n"]);
  const rows = 2000;
  const numbers = BigInt64Array.from({ length: rows }, (_, row) => BigInt(row));
  const done = apply({ rows, columns: [{ buffers: [new Uint8Array(0), new Uint8Array(numbers.buffer)] }] });
  const origin = [...new Uint32Array(done.origin.buffer)];
  const values = [...new BigInt64Array(done.batch.columns[0].buffers[1].buffer)];
  assert.deepEqual(origin.map(BigInt), values);
  assert.equal(origin.length, 1200 + 399);
  assert.deepEqual(done.rejected, [{ row: 1501, reason: "no" }]);
});

test("what is thrown or returned amiss is the call's error, with its place", () => {
  const odd = (row) => transform({ name: "odd", input: { n: t.float64 }, output: { n: t.int64 }, row });
  const says = (row, words) => assert.throws(() => run(odd(row), [{ n: 1 }]), { message: words });
  says(() => { throw new Error("one is not welcome"); }, /^Error: one is not welcome \(udfs\.test\.js:\d+\)$/);
  says((r) => r.x.y, /^TypeError: .* \(udfs\.test\.js:\d+\)$/);
  says(() => { throw "words"; }, "words (thrown)");
  says(() => 1, "odd returned 1 where an object belongs");
  says((r) => ({ n: r.n }), "odd: column `n` (int64): it is 1 in row 0, not a bigint, such as 1n");
  says(() => ({}), "odd: column `n` (int64): it is undefined in row 0, and its type is not .nullable");
});

test("every misfit is named at once", () => {
  const counted = transform({
    name: "counted",
    input: { merchant: t.utf8.nullable, amount: t.float64, counts: t.list(t.int64) },
    output: { n: t.float64 },
    options: { units: option.number() },
    row: () => ({ n: 0 }),
  });
  const columns = { merchant: null, merchnt: "utf8", amount: "utf8", counts: "w:16" };
  assert.throws(() => run(counted, [], { options: { unit: 1 }, columns }), {
    message: "no column `merchant` (utf8) among `merchnt`, `amount`, `counts`: map one to it, as in { merchant = \"merchnt\" }; " +
      "column `amount` is utf8, wanted float64: map an expression of that type to `amount`; " +
      "column `counts` has the format `w:16`, which this UDF's SDK does not know; " +
      "options: unknown field `unit`, expected `units`",
  });
});

test("options have types, defaults and checks", () => {
  const spanned = transform({
    name: "spanned",
    input: { n: t.float64 },
    output: { n: t.float64 },
    options: { halfLife: option.span("5m").check((span) => (span > 0n ? null : "it is no time at all")), names: option.strings([]) },
    row: (r, o) => ({ n: Number(o.halfLife) }),
  });
  const with_ = (options) => run(spanned, [{ n: 1 }], { options }).rows[0].n;
  assert.equal(with_({}), 300_000_000);
  assert.equal(with_({ "half-life": "1h 30m" }), 5_400_000_000);
  assert.throws(() => with_({ "half-life": "5" }), { message: /`half-life`: "5" is not a duration/ });
  assert.throws(() => with_({ "half-life": "0s" }), { message: "options: `half-life`: it is no time at all" });
  assert.throws(() => with_({ names: [1] }), { message: "options: `names`: [1] is not a list of texts" });
});

test("whole columns go through", () => {
  const scale = transform({
    name: "scale",
    input: { amount: t.float64, name: t.utf8.nullable, flag: t.boolean, at: t.int64 },
    output: { cents: t.float64, name: t.utf8.nullable, flag: t.boolean, at: t.int64 },
    columns: ({ amount, name, flag, at }) => ({ cents: amount.values.map((v) => v * 100), name: name.toLowerCase(), flag: flag.not(), at }),
  });
  const rows = [{ amount: 1.5, name: "É", flag: true, at: 7n }, { amount: 2, name: null, flag: false, at: 8n }];
  const cleaned = [{ cents: 150, name: "é", flag: false, at: 7n }, { cents: 200, name: null, flag: true, at: 8n }];
  assert.deepEqual(run(scale, rows).rows, cleaned);
  const narrow = rows.map((row) => ({ ...row, at: Number(row.at) }));
  assert.deepEqual(run(scale, narrow, { columns: { amount: "float32", at: "int32" } }).rows, cleaned);
  assert.throws(() => run(scale, rows, { columns: { amount: "float64?" } }), {
    message: "column `amount` may be null, wanted float64 without nulls: map `coalesce(amount, …)` to `amount`",
  });
});

test("whole columns say where rows came from", () => {
  const last = (columns, more) => transform({
    name: "last", input: { n: t.float64 }, output: { n: t.float64 }, columns: () => mapped(columns, more),
  });
  const rows = [{ n: 1 }];
  assert.deepEqual(run(last({ n: [5, 6] }, { origin: [0, 0] }), rows).rows, [{ n: 5 }, { n: 6 }]);
  assert.deepEqual(run(last({ n: [] }, { origin: [], rejected: [{ row: 0, reason: "no" }] }), rows).rejected, [[0, "no"]]);
  const says = (columns, more, words) => assert.throws(() => run(last(columns, more), rows), { message: words });
  says({ n: [1, 2] }, {}, "last: column `n` has 2 values where 1 rows are returned");
  says({ n: [1] }, { origin: [1] }, "last: origin 1, of 1 rows");
  says({ n: [1] }, { origin: [0], rejected: [{ row: 0, reason: "" }] }, "last: row 0 is both refused and returned");
  says({}, {}, "last: column `n` is undefined, and no values");
});

const spread = aggregate({
  name: "spread",
  input: { amount: t.float64 },
  state: { least: t.float64.nullable, most: t.float64.nullable, seen: t.map(), tags: t.set() },
  output: t.float64.nullable,
  update: (s, r) => {
    s.least = Math.min(s.least ?? r.amount, r.amount);
    s.most = Math.max(s.most ?? r.amount, r.amount);
    s.seen.set(String(r.amount), (s.seen.get(String(r.amount)) ?? 0) + 1);
    s.tags.add(r.amount);
    if (r.amount < 0) return reject("negative amount");
  },
  merge: (s, later) => ({
    ...s,
    least: s.least === null ? later.least : Math.min(s.least, later.least ?? s.least),
    most: s.most === null ? later.most : Math.max(s.most, later.most ?? s.most),
  }),
  evaluate: (s) => (s.least === null ? null : s.most - s.least + s.tags.size * 1000),
});

test("rows are folded, and a refused one leaves no trace", () => {
  const folded = fold(spread, [{ amount: 3 }, { amount: -7 }, { amount: 1 }, { amount: -8 }, { amount: 3 }]);
  assert.deepEqual(folded.rejected, [[1, "negative amount"], [3, "negative amount"]]);
  assert.equal(folded.evaluate(), 2002);
  assert.equal(fold(spread, []).evaluate(), null);
  assert.equal(folded.merge(fold(spread, [{ amount: 11 }])).evaluate(), 2010);
});

test("a state has plain columns, and packed ones", () => {
  const { signature, bound } = spread.bind([{ name: "amount", format: "f", nullable: true }], "{}");
  assert.deepEqual(signature.state.map(({ name, format }) => `${name} ${format}`), ["least g", "most g", "seen z", "tags z"]);
  assert.deepEqual(signature.output, [{ name: "value", format: "g", nullable: true }]);
  const { columns } = bound.initial(2);
  assert.deepEqual([...columns[2].buffers[2]], [0x80, 0x80]);
  assert.throws(() => bound.merge(bound.initial(1), Uint8Array.of(1, 0, 0, 0), bound.initial(1)), {
    message: "group 1 is not among the state's rows",
  });
});

test("UDFs are held under their exports' names", () => {
  const module = { flatMap: transform({ ...clean, input: { n: t.float64 }, output: { n: t.float64 }, options: {}, name: undefined, row: (r) => r }), spread, other: 3 };
  const { transform: transforms, aggregate: aggregates } = held(module);
  assert.deepEqual([transforms.map(({ name }) => name), aggregates.map(({ name }) => name)], [["flat_map"], ["spread"]]);
});
