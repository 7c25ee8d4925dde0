// What must not bring a component in JavaScript down, one kind a row: each comes out as an error in words, or as a constant.

import { t, transform } from "millrace-sdk";

const forever = (depth: number): number => forever(depth + 1) + 1;

const faults: Record<string, () => unknown> = {
  throw: () => {
    throw new Error("words");
  },
  "throw text": () => {
    throw "words";
  },
  "throw nothing": () => {
    throw undefined;
  },
  mute: () => {
    throw Object.defineProperty(new Error(), "message", {
      get: () => {
        throw new Error("this one keeps its secret");
      },
    });
  },
  undefined: () => (undefined as unknown as { x: string }).x,
  recursion: () => forever(0),
  promise: async () => "later",
  type: () => 7,
  clock: () => `${Date.now()} ${new Date().toISOString()}`,
  chance: () => Math.random().toFixed(6),
  log: () => console.log("a line"),
};

export const faulty = transform({
  name: "faults",
  input: { kind: t.utf8 },
  output: { said: t.utf8 },
  row: ({ kind }) => {
    const said = faults[kind]!();
    return (said instanceof Promise ? said : { said: said ?? "nothing happened" }) as { said: string };
  },
});
