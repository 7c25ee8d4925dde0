// Options: the JSON object that a project gives, as the author declares it: `{ units: option.number(100) }`.
//
// Names are in kebab case in a project file (`half-life`) and in camel case in JavaScript; unknown ones are refused,
// missing ones are the declared defaults.

import { Misfit, show } from "./errors.js";

const UNITS = { us: 1n, ms: 1_000n, s: 1_000_000n, m: 60_000_000n, h: 3_600_000_000n, d: 86_400_000_000n };

/** Reads `5m`, `1h 30m`, `250ms`, as microseconds. */
export function parseSpan(text) {
  const whole = /^\s*(?:[0-9]+[a-zA-Z]+\s*)+$/.test(text);
  let micros = 0n;
  for (const [, number, unit] of whole ? text.matchAll(/([0-9]+)([a-zA-Z]+)/g) : []) {
    if (!Object.hasOwn(UNITS, unit)) return null;
    micros += BigInt(number) * UNITS[unit];
  }
  return whole && micros < 2n ** 63n ? micros : null;
}

/** One option: how it is read, and what it is where the project does not give it. */
export class Option {
  constructor(words, read, hasDefault, fallback) {
    this.words = words;
    this.read = read;
    this.hasDefault = hasDefault;
    this.fallback = fallback;
    this.refuse = null;
  }

  /** The same, refused where `check` gives a reason. */
  check(check) {
    const checked = new Option(this.words, this.read, this.hasDefault, this.fallback);
    checked.refuse = check;
    return checked;
  }
}

const of = (words, read) => (...fallback) => new Option(words, read, fallback.length > 0, fallback[0]);
const is = (kind) => (value) => (typeof value === kind ? value : undefined);

/** What options may be. The argument is the default; without one the project has to give it. */
export const option = {
  boolean: of("true or false", is("boolean")),
  number: of("a number", is("number")),
  integer: of("a whole number", (value) => (Number.isSafeInteger(value) ? value : undefined)),
  string: of("a text", is("string")),
  span: (...fallback) =>
    new Option(
      'a duration: a number and a unit (us ms s m h d), as in "5m"',
      (value) => (typeof value === "string" ? (parseSpan(value) ?? undefined) : undefined),
      fallback.length > 0,
      typeof fallback[0] === "string" ? parseSpan(fallback[0]) : fallback[0],
    ),
  strings: of("a list of texts", (value) =>
    Array.isArray(value) && value.every((item) => typeof item === "string") ? value : undefined),
  numbers: of("a list of numbers", (value) =>
    Array.isArray(value) && value.every((item) => typeof item === "number") ? value : undefined),
  json: of("a value", (value) => value),
};

/** `halfLife` and `half_life` as `half-life`. */
export function kebab(name) {
  return name.replace(/([a-z0-9])([A-Z])/g, "$1-$2").replace(/_/g, "-").toLowerCase();
}

/** The options that `bind` is given, as declared in `schema`. */
export function parseOptions(schema, text) {
  let given;
  try {
    given = text.trim() ? JSON.parse(text) : {};
  } catch (error) {
    throw new Misfit(`options: they are no JSON: ${error.message}`);
  }
  if (typeof given !== "object" || given === null || Array.isArray(given)) {
    throw new Misfit(`options: they are a table, not ${show(given)}`);
  }
  const known = Object.keys(schema);
  const parsed = {};
  for (const [name, value] of Object.entries(given)) {
    const key = known.find((key) => kebab(key) === kebab(name));
    if (key === undefined) {
      const listed = known.map((key) => `\`${kebab(key)}\``).join(", ");
      const expected = known.length === 0 ? "there are no fields" : `expected ${known.length > 1 ? "one of " : ""}${listed}`;
      throw new Misfit(`options: unknown field \`${name}\`, ${expected}`);
    }
    const read = schema[key].read(value);
    if (read === undefined) throw new Misfit(`options: \`${name}\`: ${show(value)} is not ${schema[key].words}`);
    parsed[key] = read;
  }
  for (const key of known) {
    if (!Object.hasOwn(parsed, key)) {
      if (!schema[key].hasDefault) throw new Misfit(`options: missing field \`${kebab(key)}\``);
      parsed[key] = schema[key].fallback;
    }
    const refusal = schema[key].refuse?.(parsed[key]);
    if (refusal) throw new Misfit(`options: \`${kebab(key)}\`: ${refusal}`);
  }
  return Object.freeze(parsed);
}

/** Refuses what is no declaration of options, when the author's module is loaded. */
export function checkOptions(schema, whose) {
  for (const [name, one] of Object.entries(schema)) {
    if (!(one instanceof Option)) throw new TypeError(`${whose}: the option \`${name}\` is none of option.number(…) and so on`);
  }
  return schema;
}
