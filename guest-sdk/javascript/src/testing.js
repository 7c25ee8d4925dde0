// Transforms and aggregates in the author's own `node --test`: the way of a batch through a component, natively, with rows
// as objects. What the contract asks of every UDF is checked on the way: a transform gives the same whether rows come
// together or alone, an aggregate the same state wherever its rows are cut.

import { fieldOf } from "./bind.js";
import { decode, encode } from "./columns.js";
import { Misfit, told } from "./errors.js";
import { Type, parseType } from "./types.js";

function fieldsOf(wanted, changes) {
  const fields = wanted.map(fieldOf);
  for (const [name, text] of Object.entries(changes)) {
    const at = fields.findIndex((field) => field.name === name);
    if (at >= 0) fields.splice(at, 1);
    if (text === null) continue;
    const plain = text.replace(/\?$/, "");
    const format = parseType(plain)?.format ?? plain;
    fields.push({ name, format, nullable: text.endsWith("?"), type: parseType(plain) });
  }
  return fields;
}

function batchOf(rows, names, slots, changes) {
  const columns = names.map((name) => {
    const given = changes[name] ? parseType(changes[name].replace(/\?$/, "")) : slots.find((slot) => slot.name === name).type;
    const loose = looseType(given);
    return { buffers: encode(loose, rows.map((row) => row[name] ?? null)) };
  });
  return { rows: rows.length, columns };
}

function looseType(type) {
  return new Type(type.name, type.item && looseType(type.item), true);
}

function rowsOf({ rows, columns }, slots) {
  const values = slots.map(({ type }, at) => Array.from(decode(type, columns[at].buffers, 0, rows, looseType(type)).values));
  return Array.from({ length: rows }, (_, row) => Object.fromEntries(slots.map(({ name }, at) => [name, values[at][row]])));
}

function failing(call) {
  try {
    return told(call);
  } catch (words) {
    throw new Error(words);
  }
}

/** Bytes and bigints as text, so that two results can be compared. */
function same(one, other) {
  const shown = (_, value) =>
    typeof value === "bigint" ? `${value}n` : Object.is(value, -0) ? "-0" : Number.isNaN(value) ? "NaN" : value;
  return JSON.stringify(one, shown) === JSON.stringify(other, shown);
}

/**
 * Runs a transform over rows: the rows that come back, the input row of each, and the rows that are refused.
 * `columns` gives columns other types than those wanted: `{ amount: "float32?" }`, or null for none of the name.
 */
export function run(transform, rows, { options = {}, columns = {} } = {}) {
  transform.name ??= "transform";
  return failing(() => {
    const given = fieldsOf(transform.input.slots, columns);
    const { signature, apply } = transform.bind(given, JSON.stringify(options));
    const once = (rows) => {
      const done = apply(batchOf(rows, signature.input, transform.input.slots, columns));
      const out = rowsOf(done.batch, transform.output.slots);
      const origin = done.origin ? [...new Uint32Array(done.origin.buffer)] : out.map((_, row) => row);
      const rejected = done.rejected.map(({ row, reason }) => [row, reason]);
      const kept = out.map((_, at) => at).filter((at) => !rejected.some(([row]) => row === origin[at]));
      return { rows: kept.map((at) => out[at]), origin: kept.map((at) => origin[at]), rejected };
    };
    const together = once(rows);
    const alone = { rows: [], origin: [], rejected: [] };
    rows.forEach((row, at) => {
      const one = once([row]);
      alone.rows.push(...one.rows);
      alone.origin.push(...one.origin.map(() => at));
      alone.rejected.push(...one.rejected.map(([, reason]) => [at, reason]));
    });
    if (!same(together, alone)) throw new Misfit("rows alone give another result than together");
    return together;
  });
}

/** The state of one key, after some rows. */
export class Folded {
  constructor(aggregate, bound, state, rejected) {
    Object.assign(this, { aggregate, bound, state, rejected });
  }

  /** Folds in the state of a later stretch of time. */
  merge(later) {
    const state = failing(() => this.bound.merge(this.state, new Uint8Array(4), later.state));
    return new Folded(this.aggregate, this.bound, state, this.rejected);
  }

  /** The feature: its value, or an object if it has several. */
  evaluate(since = 0n, until = 0n) {
    const bound = (time) => new Uint8Array(BigInt64Array.of(time).buffer);
    const { output } = this.aggregate;
    const done = failing(() => this.bound.evaluate(this.state, bound(since), bound(until)));
    const [row] = rowsOf(done, output.slots);
    return output.slots.length === 1 ? row[output.slots[0].name] : row;
  }
}

/** Folds rows of one key, in their order. */
export function fold(aggregate, rows, { options = {}, columns = {} } = {}) {
  aggregate.name ??= "aggregate";
  return failing(() => {
    const given = fieldsOf(aggregate.input.slots, columns);
    const { signature, bound } = aggregate.bind(given, JSON.stringify(options));
    const update = (state, rows) =>
      bound.update(state, new Uint8Array(4 * rows.length), batchOf(rows, signature.input, aggregate.input.slots, columns));
    const empty = bound.initial(1);
    const whole = update(empty, rows);
    for (let cut = 0; cut <= rows.length; cut += 1) {
      const { state } = update(update(empty, rows.slice(0, cut)).state, rows.slice(cut));
      if (!same(state, whole.state)) throw new Misfit(`the state is another when the rows are cut before row ${cut}`);
    }
    return new Folded(aggregate, bound, whole.state, whole.rejected.map(({ row, reason }) => [row, reason]));
  });
}

