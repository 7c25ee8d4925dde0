// The component's side of the contract: the UDFs that the author's module exports, by name, and the one that this instance
// was bound to. An instance is bound once. No error leaves it but the contract's own, a string.

import { Aggregate } from "./aggregate.js";
import { Misfit, told } from "./errors.js";
import { setLog } from "./log.js";
import { beforeCall } from "./still.js";
import { Transform } from "./transform.js";

/** `lastCategories` as `last_categories`. */
export function snake(name) {
  return name.replace(/([a-z0-9])([A-Z])/g, "$1_$2").replace(/([A-Z])([A-Z][a-z])/g, "$1_$2").toLowerCase();
}

/** The UDFs that a module exports, by kind; each with its name. */
export function held(module) {
  const found = { transform: [], aggregate: [] };
  for (const [name, value] of Object.entries(module)) {
    const kind = value instanceof Transform ? "transform" : value instanceof Aggregate ? "aggregate" : null;
    if (!kind) continue;
    value.name ??= snake(name);
    if (found[kind].includes(value)) continue;
    if (found[kind].some((other) => other.name === value.name)) {
      throw new Misfit(`two ${kind}s are called \`${value.name}\`: give one another name`);
    }
    found[kind].push(value);
  }
  return found;
}

function entry(entries, kind, name) {
  const found = entries.find((entry) => entry.name === name);
  if (found) return found;
  const known = entries.map((entry) => `\`${entry.name}\``).join(", ");
  throw new Misfit(`no ${kind} \`${name}\` in this component; it has ${known}`);
}

/** A buffer as the author's code knows buffers: those of the bindings are of another realm, where `Uint8Array` is another
 * class. */
function own(buffer) {
  return buffer instanceof Uint8Array ? buffer : new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
}

function ownBatch({ rows, columns }) {
  return { rows, columns: columns.map(({ buffers }) => ({ buffers: buffers.map(own) })) };
}

function call(body) {
  beforeCall();
  return told(body);
}

/** The contract's interfaces, for what a module exports. */
export function component(module, hostLog) {
  const { transform, aggregate } = held(module);
  setLog(hostLog);
  globalThis.console = consoleOf(hostLog);
  let apply = null;
  let bound = null;
  const or = (there) => {
    if (there === null) throw new Misfit("called before bind");
    return there;
  };
  return {
    transform: {
      names: () => transform.map(({ name }) => name),
      bind: (name, input, options) =>
        call(() => {
          const done = entry(transform, "transform", name).bind(input, options);
          apply = done.apply;
          return done.signature;
        }),
      apply: (input) => call(() => or(apply)(ownBatch(input))),
    },
    aggregate: {
      names: () => aggregate.map(({ name }) => name),
      bind: (name, input, options) =>
        call(() => {
          const done = entry(aggregate, "aggregate", name).bind(input, options);
          bound = done.bound;
          return done.signature;
        }),
      initial: (rows) => call(() => or(bound).initial(rows)),
      update: (state, groups, input) => call(() => or(bound).update(ownBatch(state), own(groups), ownBatch(input))),
      merge: (state, groups, partial) => call(() => or(bound).merge(ownBatch(state), own(groups), ownBatch(partial))),
      evaluate: (state, since, until) => call(() => or(bound).evaluate(ownBatch(state), own(since), own(until))),
    },
  };
}

/** A console whose lines are the host's log. */
function consoleOf(write) {
  const line = (level) => (...parts) => write(level, parts.map(String).join(" "));
  return { debug: line("debug"), log: line("info"), info: line("info"), warn: line("warn"), error: line("error"), trace: line("debug") };
}
