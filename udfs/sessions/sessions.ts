// Sessions: a new one begins where nothing came for longer than a gap. How many there were, how long they took, and the one that
// is open: visits of a shop, runs of a machine, sprees of a card.

import { aggregate, option, t } from "millrace-sdk";

/** The end of the first session and the beginning of the last are kept, so that two stretches of time can be joined where one
 * session goes on from one into the other. */
interface State {
  sessions: bigint;
  first: bigint | null;
  first_end: bigint | null;
  last_start: bigint | null;
  last: bigint | null;
  last_events: bigint;
  longest: bigint;
  total: bigint;
}

export const sessions = aggregate({
  input: { time: t.timestamp },
  // Times in microseconds: of the first session its begin and end, of the last one too; lengths of all.
  state: {
    sessions: t.int64,
    first: t.timestamp.nullable,
    first_end: t.timestamp.nullable,
    last_start: t.timestamp.nullable,
    last: t.timestamp.nullable,
    last_events: t.int64,
    longest: t.int64,
    total: t.int64,
  },
  output: {
    sessions: t.int64,
    open: t.boolean,
    events: t.int64,
    seconds: t.float64.nullable,
    mean_seconds: t.float64.nullable,
    longest_seconds: t.float64.nullable,
  },
  options: { gap: option.span("30m").check((gap) => (gap > 0n ? null : "it must be longer than nothing")) },
  ordered: true,
  update: (s, { time }, { gap }) =>
    joined(s, { sessions: 1n, first: time, first_end: time, last_start: time, last: time, last_events: 1n, longest: 0n, total: 0n }, gap),
  merge: (s, later, { gap }) => joined(s, later, gap),
  evaluate: (s, { until }, { gap }) => ({
    sessions: s.sessions,
    open: s.last !== null && until - s.last <= gap,
    events: s.last_events,
    seconds: s.last === null || s.last_start === null ? null : seconds(s.last - s.last_start),
    mean_seconds: s.sessions === 0n ? null : seconds(s.total) / Number(s.sessions),
    longest_seconds: s.sessions === 0n ? null : seconds(s.longest),
  }),
});

const seconds = (micros: bigint): number => Number(micros) / 1e6;

/** Two stretches of time as one. */
const joined = (earlier: State, later: State, gap: bigint): State => {
  const { first, first_end: firstEnd } = later;
  const { last, last_start: lastStart } = earlier;
  if (first === null || firstEnd === null) return earlier;
  if (last === null || lastStart === null) return later;
  const apart = first - last;
  if (apart > gap) {
    return {
      ...later,
      sessions: earlier.sessions + later.sessions,
      first: earlier.first,
      first_end: earlier.first_end,
      longest: later.longest > earlier.longest ? later.longest : earlier.longest,
      total: earlier.total + later.total,
    };
  }
  // The last session of the earlier goes on as the first of the later.
  const across = firstEnd - lastStart;
  const longest = later.longest > earlier.longest ? later.longest : earlier.longest;
  return {
    sessions: earlier.sessions + later.sessions - 1n,
    first: earlier.first,
    first_end: earlier.sessions === 1n ? firstEnd : earlier.first_end,
    last_start: later.sessions === 1n ? lastStart : later.last_start,
    last: later.last,
    last_events: later.sessions === 1n ? earlier.last_events + later.last_events : later.last_events,
    longest: across > longest ? across : longest,
    total: earlier.total + later.total + apart,
  };
};
