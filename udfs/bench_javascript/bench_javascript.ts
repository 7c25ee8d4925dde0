// What the boundary costs in JavaScript: the work of bench_transform, row by row and over whole columns, and the crossing
// alone, and its aggregate.

import { aggregate, t, transform } from "millrace-sdk";

const columns = { value: t.float64, flag: t.boolean, text: t.utf8 };

export const rowClosure = transform({
  input: columns,
  output: columns,
  row: (r) => ({ value: r.value * 1.5 + 1, flag: !r.flag, text: r.text.toLowerCase() }),
});

export const vectorised = transform({
  input: columns,
  output: columns,
  columns: ({ value, flag, text }) => ({ value: value.values.map((v) => v * 1.5 + 1), flag: flag.not(), text: text.toLowerCase() }),
});

export const passthrough = transform({ input: columns, output: columns, columns: (columns) => columns });

export const mean = aggregate({
  input: { value: t.float64 },
  state: { sum: t.float64, count: t.int64 },
  output: t.float64.nullable,
  update: (s, r) => {
    s.sum += r.value;
    s.count += 1n;
  },
  merge: (s, later) => {
    s.sum += later.sum;
    s.count += later.count;
  },
  evaluate: (s) => (s.count === 0n ? null : s.sum / Number(s.count)),
});
