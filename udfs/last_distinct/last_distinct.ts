// The last few different texts of a key: the merchants' categories of a card, the pages of a visitor.

import { aggregate, option, t } from "millrace-sdk";

export const lastDistinct = aggregate({
  input: { value: t.utf8.nullable },
  // The newest first, each once.
  state: { values: t.packed<string[]>() },
  output: t.list(t.utf8),
  options: { n: option.integer(5).check((n) => (n >= 1 && n <= 100 ? null : "it is not within 1 to 100")) },
  ordered: true,
  initial: () => ({ values: [] }),
  update: (s, { value }, { n }) => {
    if (value === null || value === s.values[0]) return;
    s.values = joined([value], s.values, n);
  },
  merge: (s, later, { n }) => {
    s.values = joined(later.values, s.values, n);
  },
  evaluate: (s) => s.values,
});

/** What is newer, then what is older and not there yet. */
const joined = (newer: string[], older: string[], n: number): string[] =>
  [...newer, ...older.filter((value) => !newer.includes(value))].slice(0, n);
