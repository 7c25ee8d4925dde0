// Aggregates: a state for each key that rows are folded into, states that are merged, and values that are made of them.
//
// The state is the host's: it comes as columns, one row a key of this batch, and goes back as columns. Nothing is kept
// between two calls.

import { fieldOf } from "./bind.js";
import { numbers, writeColumn } from "./columns.js";
import { Misfit, Reject, show } from "./errors.js";
import { checkOptions } from "./options.js";
import { CHUNK, decodeColumns, readRows, recordOf, unpackColumn, writeRows } from "./record.js";
import { bindAll } from "./transform.js";
import { Type, slotsOf } from "./types.js";

/** What `aggregate` makes of its description. */
export class Aggregate {
  constructor(description) {
    const { input, state, output, options = {}, ordered = false, name } = description;
    for (const method of ["update", "merge", "evaluate"]) {
      if (typeof description[method] !== "function") throw new TypeError(`an aggregate needs \`${method}\`, a function`);
    }
    this.kind = "aggregate";
    this.name = name;
    this.description = description;
    this.input = recordOf(slotsOf(input, "an aggregate's input"));
    this.state = recordOf(slotsOf(state, "an aggregate's state"));
    this.types = this.state.slots.map(({ type }) => type);
    this.single = output instanceof Type;
    this.output = recordOf(this.single ? [{ name: "value", type: output }] : slotsOf(output, "an aggregate's output"));
    for (const { name, type } of [...this.input.slots, ...this.output.slots]) {
      if (type.packed) throw new TypeError(`\`${name}\` is packed, which only a state's fields are`);
    }
    this.options = checkOptions(options, "an aggregate");
    this.ordered = Boolean(ordered);
  }

  /** The signature for these columns and options, and the aggregate that knows them. */
  bind(given, text) {
    const { types, options } = bindAll(this.input.slots, given, false, this.options, text);
    const signature = {
      input: this.input.slots.map(({ name }) => name),
      state: this.state.slots.map(fieldOf),
      output: this.output.slots.map(fieldOf),
      ordered: this.ordered,
    };
    return { signature, bound: new Bound(this, types, options) };
  }
}

/** What a field holds before anything was folded in, where the author does not say. */
function nothing({ packed, isNullable, item, name }) {
  if (isNullable) return null;
  if (packed) return packed === "map" ? new Map() : packed === "set" ? new Set() : {};
  if (item) return [];
  const zeros = { boolean: false, utf8: "", binary: new Uint8Array(0), int64: 0n, timestamp: 0n };
  return Object.hasOwn(zeros, name) ? zeros[name] : 0;
}

/** An aggregate that knows its columns and options. */
class Bound {
  constructor(aggregate, types, options) {
    this.aggregate = aggregate;
    this.types = types;
    this.options = options;
  }

  read({ rows, columns }) {
    const { state, types } = this.aggregate;
    const decoded = decodeColumns(state.slots, types, columns, rows);
    const values = decoded.map(({ values, misfits }, at) => {
      const { name, type } = state.slots[at];
      if (misfits?.includes(1)) throw new Misfit(`state: column \`${name}\` holds a null`);
      return type.packed ? unpackColumn(type, values) : values;
    });
    return state.make(0, rows, ...values);
  }

  write(states) {
    const { state, name } = this.aggregate;
    return { rows: states.length, columns: writeRows(state, states, `the state of ${name}`) };
  }

  initial(rows) {
    const { description, state, name } = this.aggregate;
    const first = description.initial
      ? description.initial(this.options)
      : Object.fromEntries(state.slots.map(({ name, type }) => [name, nothing(type)]));
    if (typeof first !== "object" || first === null) throw new Misfit(`${name}: initial returned ${show(first)}, not a state`);
    return this.write(new Array(rows).fill(first));
  }

  update(state, groups, input) {
    const { aggregate, options } = this;
    const { description } = aggregate;
    const states = this.read(state);
    const read = readRows(aggregate.input, this.types, input.columns, input.rows);
    const { count, numbers } = read;
    let of = groupNumbers(groups, input.rows, states.length);
    if (numbers) of = Uint32Array.from(numbers, (row) => of[row]);
    for (let from = 0; from < count; from += CHUNK) {
      const objects = read.objects(from, Math.min(from + CHUNK, count));
      for (let at = 0; at < objects.length; at += 1) {
        const refusal = fold(description, states, of[from + at], objects[at], options);
        if (refusal) {
          const rejected = this.resume(states, state, read, of, from + at, refusal);
          return { state: this.write(states), rejected };
        }
      }
    }
    return { state: this.write(states), rejected: read.refused };
  }

  /**
   * Goes on after the first row that is refused, at `at`. Whatever it did to its state is undone: that state is folded
   * anew from where the call began. From here on each row has a copy to go back to, which is dear, and only paid where
   * rows are refused.
   */
  resume(states, before, { count, objects, numbers, refused }, of, at, first) {
    const { aggregate, options } = this;
    const { description } = aggregate;
    const number = (row) => (numbers ? numbers[row] : row);
    const rejected = [...refused, { row: number(at), reason: first.reason }];
    const group = of[at];
    states[group] = this.read(before)[group];
    for (let row = 0; row < count; row += 1) {
      if (row === at || (row < at && of[row] !== group)) continue;
      const [one] = objects(row, row + 1);
      if (row < at) {
        fold(description, states, group, one, options);
        continue;
      }
      const saved = this.copy(states[of[row]]);
      const refusal = fold(description, states, of[row], one, options);
      if (refusal) {
        states[of[row]] = saved;
        rejected.push({ row: number(row), reason: refusal.reason });
      }
    }
    return rejected.sort((one, other) => one.row - other.row);
  }

  /** A copy of a state, through its columns where its fields can change in place. */
  copy(state) {
    const deep = this.aggregate.types.some((type) => type.packed || type.item || type.name === "binary");
    return deep ? this.read(this.write([state]))[0] : { ...state };
  }

  merge(state, groups, partial) {
    const { aggregate, options } = this;
    const { description } = aggregate;
    const states = this.read(state);
    const partials = this.read(partial);
    const of = groupNumbers(groups, partials.length, states.length);
    for (let row = 0; row < partials.length; row += 1) {
      const changed = description.merge(states[of[row]], partials[row], options);
      if (changed !== undefined && changed !== states[of[row]]) states[of[row]] = stateOf(changed, "merge");
    }
    return this.write(states);
  }

  evaluate(state, since, until) {
    const { aggregate, options } = this;
    const { description, single, output, name } = aggregate;
    const states = this.read(state);
    const [from, to] = [bounds(since, states.length, "since"), bounds(until, states.length, "until")];
    const values = new Array(states.length);
    for (let row = 0; row < states.length; row += 1) {
      values[row] = description.evaluate(states[row], { since: from[row], until: to[row] }, options);
    }
    const whose = `evaluate of ${name}`;
    if (single) return { rows: states.length, columns: [{ buffers: writeColumn(output.slots[0], values, whose) }] };
    const odd = values.findIndex((value) => typeof value !== "object" || value === null);
    if (odd >= 0) throw new Misfit(`${whose} returned ${show(values[odd])} where an object belongs`);
    return { rows: states.length, columns: writeRows(output, values, whose) };
  }
}

/** Folds one row into its state, which may be changed in place or returned anew; the refusal, if it is refused. */
function fold(description, states, group, row, options) {
  let changed;
  try {
    changed = description.update(states[group], row, options);
  } catch (error) {
    if (!(error instanceof Reject)) throw error;
    return error;
  }
  if (changed === undefined) return null;
  if (changed instanceof Reject) return changed;
  states[group] = stateOf(changed, "update");
  return null;
}

function stateOf(value, whose) {
  if (typeof value !== "object" || value === null) throw new Misfit(`${whose} returned ${show(value)}, not a state`);
  return value;
}

function groupNumbers(groups, rows, states) {
  exactly(groups, rows, 4, "groups");
  const of = numbers(groups, Uint32Array, rows, "groups");
  for (let row = 0; row < rows; row += 1) {
    if (of[row] >= states) throw new Misfit(`group ${of[row]} is not among the state's rows`);
  }
  return of;
}

function bounds(bytes, rows, what) {
  exactly(bytes, rows, 8, what);
  return numbers(bytes, BigInt64Array, rows, what);
}

function exactly(bytes, count, width, what) {
  if (bytes.length !== count * width) {
    throw new Misfit(`${what}: ${bytes.length} bytes where ${count} numbers of ${width} bytes belong`);
  }
}

/** Makes an aggregate: see `index.d.ts`. */
export function aggregate(description) {
  return new Aggregate(description);
}
