// What `tsc --strict` must accept, and what it must refuse. Never run.

import { aggregate, mapped, option, reject, t, transform } from "millrace-sdk";

export const clean = transform({
  input: { merchant: t.utf8.nullable, amount: t.float64 },
  output: { category: t.utf8, cents: t.int64 },
  options: { units: option.number(100) },
  row: (r, o) => r.amount < 0 ? reject("negative amount")
    : { category: (r.merchant ?? "unknown").trim().toLowerCase(), cents: BigInt(Math.round(r.amount * o.units)) },
});

export const words = transform({
  input: { text: t.utf8 },
  output: { word: t.utf8 },
  row: function* (r) {
    for (const word of r.text.split(" ")) yield { word };
  },
});

export const scale = transform({
  input: { amount: t.float64, name: t.utf8.nullable, at: t.timestamp, tags: t.list(t.utf8) },
  output: { cents: t.float64, name: t.utf8.nullable, at: t.timestamp },
  columns: (c) => mapped({ cents: c.amount.values.map((v) => v * 100), name: c.name.toLowerCase(), at: c.at.values }, { origin: [0] }),
});

export const decayed = aggregate({
  input: { value: t.float64, time: t.timestamp },
  state: { sum: t.float64, at: t.timestamp, seen: t.map<string, number>() },
  output: t.float64.nullable,
  options: { halfLife: option.span("5m") },
  update: (s, r) => {
    s.sum += r.value;
    s.seen.set("x", 1);
  },
  merge: (s, later) => ({ ...s, sum: s.sum + later.sum }),
  evaluate: (s, w, o) => (w.until - s.at > o.halfLife ? null : s.sum),
});

// @ts-expect-error a number is no int64
transform({
  input: { amount: t.float64 },
  output: { cents: t.int64 },
  row: (r) => ({ cents: r.amount }),
});

// @ts-expect-error a null where none may be
transform({
  input: { name: t.utf8.nullable },
  output: { name: t.utf8 },
  row: (r) => ({ name: r.name }),
});

transform({
  input: { name: t.utf8 },
  output: { length: t.int64 },
  // @ts-expect-error there is no such column
  row: (r) => ({ length: BigInt(r.nom.length) }),
});

aggregate({
  input: { value: t.float64 },
  state: { sum: t.float64 },
  output: t.float64,
  update: (s, r) => {
    s.sum += r.value;
  },
  merge: (s, later) => {
    s.sum += later.sum;
  },
  // @ts-expect-error the feature is a number
  evaluate: (s) => `${s.sum}`,
});
