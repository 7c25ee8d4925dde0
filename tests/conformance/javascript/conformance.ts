// The UDFs of the conformance suite, in TypeScript: what tests/conformance/README.md says, and no more. Most are written row
// by row, `echo` and `lower` over whole columns.

import { Text, aggregate, option, reject, t, transform } from "millrace-sdk";

export const multiply = transform({
  input: { value: t.float64.nullable },
  output: { value: t.float64.nullable },
  options: { factor: option.number(2) },
  row: (r, o) => ({ value: r.value === null ? null : r.value * o.factor }),
});

const LOWER = /[\u0041-\u005a\u00c0-\u00d6\u00d8-\u00de\u0391-\u03a1\u03a3-\u03a9\u0400-\u042f]/g;
const lowered = (letter: string) => {
  const code = letter.charCodeAt(0);
  return String.fromCharCode(code + (code >= 0x400 && code < 0x410 ? 80 : 32));
};

export const lower = transform({
  input: { text: t.utf8.nullable },
  output: { text: t.utf8.nullable },
  // No letter becomes longer or shorter in UTF-8, so that the offsets stay.
  columns: ({ text }) => ({ text: new Text(text.text.replace(LOWER, lowered), text.offsets, text.valid) }),
});

export const filter = transform({
  input: { value: t.float64.nullable },
  output: { value: t.float64.nullable },
  options: { above: option.number(0) },
  row: (r, o) => (r.value !== null && r.value > o.above ? { value: r.value } : null),
});

export const flatMap = transform({
  input: { text: t.utf8.nullable },
  output: { word: t.utf8, position: t.int64 },
  row: (r) => (r.text ?? "").split(" ").filter((word) => word !== "").map((word, at) => ({ word, position: BigInt(at) })),
});

export const explode = transform({
  input: { items: t.list(t.float64.nullable).nullable },
  output: { item: t.float64.nullable },
  row: (r) => (r.items === null ? reject("no list") : r.items.map((item) => ({ item }))),
});

export const echo = transform({
  input: {
    b: t.boolean.nullable,
    i: t.int64.nullable,
    f: t.float64.nullable,
    t: t.timestamp.nullable,
    s: t.utf8.nullable,
    z: t.binary.nullable,
    lf: t.list(t.float64.nullable).nullable,
    ls: t.list(t.utf8.nullable).nullable,
  },
  output: {
    b2: t.boolean.nullable,
    i2: t.int64.nullable,
    f2: t.float64.nullable,
    t2: t.timestamp.nullable,
    s2: t.utf8.nullable,
    z2: t.binary.nullable,
    lf2: t.list(t.float64.nullable).nullable,
    ls2: t.list(t.utf8.nullable).nullable,
  },
  // Through JavaScript's values and back, which is what is to be shown.
  columns: (c) => ({
    b2: c.b.toArray(),
    i2: c.i.toArray(),
    f2: c.f.toArray(),
    t2: c.t.toArray(),
    s2: c.s.toArray(),
    z2: c.z.toArray(),
    lf2: c.lf.toArray(),
    ls2: c.ls.toArray(),
  }),
});

export const fail = transform({
  input: { value: t.int64.nullable },
  output: { value: t.int64.nullable },
  row: (r) => {
    if (r.value === 1n) throw new Error("one is not welcome");
    return r.value === 2n ? reject("two is refused") : r;
  },
});

export const mean = aggregate({
  input: { value: t.float64.nullable },
  state: { sum: t.float64, count: t.int64 },
  output: { mean: t.float64.nullable },
  update: (s, r) => {
    if (r.value === null) return;
    s.sum += r.value;
    s.count += 1n;
  },
  merge: (s, later) => {
    s.sum += later.sum;
    s.count += later.count;
  },
  evaluate: (s) => ({ mean: s.count === 0n ? null : s.sum / Number(s.count) }),
});

export const sessions = aggregate({
  input: { time: t.timestamp.nullable },
  state: { first: t.timestamp.nullable, last: t.timestamp.nullable, sessions: t.int64 },
  output: { sessions: t.int64 },
  options: { gap_us: option.integer(30_000_000) },
  ordered: true,
  update: (s, { time }, o) => {
    if (time === null) return reject("no time");
    if (s.last === null) {
      s.first = time;
      s.sessions = 1n;
    } else if (time - s.last > o.gap_us) {
      s.sessions += 1n;
    }
    s.last = time;
  },
  merge: (s, later, o) => {
    if (later.first === null || later.last === null) return;
    if (s.last === null) return later;
    s.sessions += later.sessions - (later.first - s.last <= o.gap_us ? 1n : 0n);
    s.last = later.last;
  },
  evaluate: (s) => ({ sessions: s.sessions }),
});

const hashed = (text: string): bigint => {
  let h = 0xcbf29ce484222325n;
  for (const byte of new TextEncoder().encode(text)) h = BigInt.asUintN(64, (h ^ BigInt(byte)) * 0x100000001b3n);
  h = BigInt.asUintN(64, (h ^ (h >> 33n)) * 0xff51afd7ed558ccdn);
  h = BigInt.asUintN(64, (h ^ (h >> 33n)) * 0xc4ceb9fe1a85ec53n);
  return h ^ (h >> 33n);
};

export const registers = aggregate({
  input: { text: t.utf8.nullable },
  state: { registers: t.binary },
  output: { registers: t.binary, filled: t.int64 },
  initial: () => ({ registers: new Uint8Array(64) }),
  update: (s, r) => {
    if (r.text === null) return;
    const h = hashed(r.text);
    const index = Number(h & 63n);
    let rest = (h >> 6n) | (1n << 57n);
    let rank = 1;
    for (; (rest & 1n) === 0n; rest >>= 1n) rank += 1;
    s.registers[index] = Math.max(s.registers[index]!, rank);
  },
  merge: (s, later) => {
    s.registers = s.registers.map((rank, index) => Math.max(rank, later.registers[index]!));
  },
  evaluate: (s) => ({ registers: s.registers, filled: BigInt(s.registers.filter((rank) => rank > 0).length) }),
});

/** The order of UTF-8, which is not JavaScript's own. */
const before = (one: string, other: string): boolean => {
  const [a, b] = [Array.from(one, (letter) => letter.codePointAt(0)!), Array.from(other, (letter) => letter.codePointAt(0)!)];
  const at = a.findIndex((code, index) => code !== b[index]);
  return at < 0 ? a.length < b.length : at < b.length && a[at]! < b[at]!;
};

export const seen = aggregate({
  input: { text: t.utf8.nullable },
  state: { counts: t.map<string, number>() },
  output: { top: t.utf8.nullable },
  update: (s, { text }) => {
    if (text !== null) s.counts.set(text, (s.counts.get(text) ?? 0) + 1);
  },
  merge: (s, later) => {
    for (const [text, count] of later.counts) s.counts.set(text, (s.counts.get(text) ?? 0) + count);
  },
  evaluate: (s) => {
    let top: string | null = null;
    let most = 0;
    for (const [text, count] of s.counts) {
      if (count > most || (count === most && top !== null && before(text, top))) [top, most] = [text, count];
    }
    return { top };
  },
});

/** What differs from process to process where nobody sees to it. */
const chancesOf = (text: string | null): string => {
  const clocks = [Date.now(), new Date().toISOString()];
  const drawn = [Math.random(), Math.random(), Math.random()];
  return JSON.stringify([text, ...clocks, ...drawn, ...new Set(drawn)]);
};

export const chance = transform({
  input: { text: t.utf8.nullable },
  output: { said: t.utf8 },
  row: (r) => ({ said: chancesOf(r.text) }),
});

export const chances = aggregate({
  input: { text: t.utf8.nullable },
  state: { said: t.utf8 },
  output: { said: t.utf8 },
  update: (s, r) => {
    s.said = chancesOf(r.text);
  },
  merge: (s, later) => {
    s.said = chancesOf(s.said.length + later.said);
  },
  evaluate: (s) => ({ said: chancesOf(s.said) }),
});
