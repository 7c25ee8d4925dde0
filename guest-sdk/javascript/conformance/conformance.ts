import { mapped, option, reject, t, transform } from "millrace-sdk";

export const multiply = transform({
  input: { value: t.float64.nullable },
  output: { value: t.float64.nullable },
  options: { factor: option.number(2) },
  row: (r, o) => ({ value: r.value === null ? null : r.value * o.factor }),
});

export const fail = transform({
  input: { value: t.int64.nullable },
  output: { value: t.int64.nullable },
  row: (r) => {
    if (r.value === 1n) {
      throw new Error("one is not welcome");
    }
    if (r.value === 3n) return { value: BigInt(Date.now()) };
    if (r.value === 4n) return { value: BigInt(Math.floor(Math.random() * 1000)) };
    if (r.value === 5n) { const f = (n: number): number => f(n + 1) + 1; f(0); }
    if (r.value === 6n) { const a: number[] = []; for (;;) a.push(...new Array(1 << 20).fill(1)); }
    if (r.value === 7n) console.log("hello", 3);
    if (r.value === 8n) return { value: BigInt(new Date().getTime()) };
    return r.value === 2n ? reject("two is refused") : { value: r.value };
  },
});

export const bench_columns = transform({
  input: { value: t.float64, flag: t.boolean, text: t.utf8 },
  output: { value: t.float64, flag: t.boolean, text: t.utf8 },
  columns: ({ value, flag, text }) => ({ value: value.values.map((v) => v * 1.5 + 1), flag: flag.not(), text: text.toLowerCase() }),
});

export const bench_loop = transform({
  input: { value: t.float64, flag: t.boolean, text: t.utf8 },
  output: { value: t.float64, flag: t.boolean, text: t.utf8 },
  columns: ({ value, flag, text }) => {
    const values = value.values;
    for (let i = 0; i < values.length; i += 1) values[i] = values[i] * 1.5 + 1;
    return { value: values, flag: flag.not(), text: text.toLowerCase() };
  },
});

export const bench_pass = transform({
  input: { value: t.float64, flag: t.boolean, text: t.utf8 },
  output: { value: t.float64, flag: t.boolean, text: t.utf8 },
  columns: (columns) => columns,
});

export const bench_rows = transform({
  input: { value: t.float64, flag: t.boolean, text: t.utf8 },
  output: { value: t.float64, flag: t.boolean, text: t.utf8 },
  row: (r) => ({ value: r.value * 1.5 + 1, flag: !r.flag, text: r.text.toLowerCase() }),
});
