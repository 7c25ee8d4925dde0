import assert from "node:assert/strict";
import { test } from "node:test";

import { fold } from "millrace-sdk/testing";
import { sessions } from "./sessions.ts";

const SECOND = 1_000_000n;
const GAP = 30n;

const folded = (seconds: number[]) =>
  fold(sessions, seconds.map((time) => ({ time: BigInt(time) * SECOND })), { options: { gap: `${GAP}s` } });

const at = (until: number, seconds: number[]) => folded(seconds).evaluate(0n, BigInt(until) * SECOND);

/** What it has to be, from all times at once: cut where the gap is too long, and look at the parts. */
const reference = (until: number, times: number[]) => {
  const parts: number[][] = [];
  times.forEach((time, row) => {
    if (row === 0 || time - times[row - 1]! > Number(GAP)) parts.push([]);
    parts.at(-1)!.push(time);
  });
  const lengths = parts.map((part) => part.at(-1)! - part[0]!);
  const last = parts.at(-1);
  return {
    sessions: BigInt(parts.length),
    open: last !== undefined && until - last.at(-1)! <= Number(GAP),
    events: BigInt(last?.length ?? 0),
    seconds: lengths.at(-1) ?? null,
    mean_seconds: parts.length === 0 ? null : lengths.reduce((sum, length) => sum + length, 0) / parts.length,
    longest_seconds: parts.length === 0 ? null : Math.max(...lengths),
  };
};

test("a gap ends a session, and one as long as the gap does not", () => {
  const wanted = { sessions: 2n, open: true, events: 2n, seconds: 10, mean_seconds: 35, longest_seconds: 60 };
  assert.deepEqual(at(130, [0, 30, 60, 91, 101]), wanted);
  assert.deepEqual(at(131, [0, 30, 60, 91, 101]), wanted);
  assert.deepEqual(at(132, [0, 30, 60, 91, 101]), { ...wanted, open: false });
});

test("nothing has no sessions, and one event is one without length", () => {
  const nothing = { sessions: 0n, open: false, events: 0n, seconds: null, mean_seconds: null, longest_seconds: null };
  assert.deepEqual(at(0, []), nothing);
  assert.deepEqual(at(5, [5]), { sessions: 1n, open: true, events: 1n, seconds: 0, mean_seconds: 0, longest_seconds: 0 });
});

test("any times give what a look at all of them gives, wherever they are joined", () => {
  let seed = 7;
  const draw = (end: number) => ((seed = (seed * 48271) % 2147483647), seed % end);
  for (let round = 0; round < 15; round += 1) {
    let time = 0;
    const times = Array.from({ length: draw(9) }, () => (time += draw(4) === 0 ? 31 + draw(60) : draw(31)));
    const wanted = reference(time + 10, times);
    const until = BigInt(time + 10) * SECOND;
    assert.deepEqual(folded(times).evaluate(0n, until), wanted, `${times}`);
    for (let cut = 0; cut <= times.length; cut += 1) {
      for (let next = cut; next <= times.length; next += 1) {
        const parts = [times.slice(0, cut), times.slice(cut, next), times.slice(next)].map(folded);
        const merged = parts[0]!.merge(parts[1]!).merge(parts[2]!);
        assert.deepEqual(merged.evaluate(0n, until), wanted, `${times} cut at ${cut} and ${next}`);
        const turned = parts[1]!.merge(parts[2]!);
        assert.deepEqual(parts[0]!.merge(turned).evaluate(0n, until), wanted, `${times} joined from behind at ${cut} and ${next}`);
      }
    }
  }
});

test("the gap is a length of time", () => {
  assert.throws(() => fold(sessions, [], { options: { gap: "0s" } }), /`gap`: it must be longer than nothing/);
  assert.throws(() => fold(sessions, [], { options: { gap: 30 } }), /`gap`/);
});
