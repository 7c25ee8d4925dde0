// Transforms: a function over rows, or over whole columns, and how what it gives becomes rows with their origins.

import { fieldOf, fit } from "./bind.js";
import { Column, Mapped, columnBuffers } from "./column.js";
import { bytesOf } from "./columns.js";
import { Misfit, Reject, show } from "./errors.js";
import { checkOptions, parseOptions } from "./options.js";
import { CHUNK, Sink, readRows, recordOf } from "./record.js";
import { slotsOf } from "./types.js";

/** What `transform` makes of its description. */
export class Transform {
  constructor(description) {
    const { input, output, options = {}, row, columns, name } = description;
    if ((typeof row === "function") === (typeof columns === "function")) {
      throw new TypeError("a transform has one of `row` and `columns`, a function");
    }
    this.kind = "transform";
    this.name = name;
    this.input = recordOf(slotsOf(input, "a transform's input"));
    this.output = recordOf(slotsOf(output, "a transform's output"));
    for (const { name, type } of [...this.input.slots, ...this.output.slots]) {
      if (type.packed) throw new TypeError(`\`${name}\` is packed, which only a state's fields are`);
    }
    this.options = checkOptions(options, "a transform");
    this.row = row;
    this.columns = columns;
  }

  /** The signature for these columns and options, and what applies the transform to a batch of them. */
  bind(given, text) {
    const { types, options } = bindAll(this.input.slots, given, Boolean(this.columns), this.options, text);
    const signature = { input: this.input.slots.map(({ name }) => name), output: this.output.slots.map(fieldOf) };
    const apply = this.columns
      ? (batch) => this.applyColumns(types, options, batch)
      : (batch) => this.applyRows(types, options, batch);
    return { signature, apply };
  }

  applyRows(types, options, batch) {
    const read = readRows(this.input, types, batch.columns, batch.rows);
    const made = new Emitted(this, read);
    for (let from = 0; from < read.count; from += CHUNK) {
      const results = read.objects(from, Math.min(from + CHUNK, read.count));
      const plain = callAll(this.row, results, options);
      if (plain) made.rows(results, from);
      else made.mixed(results, from);
    }
    return made.finish();
  }

  applyColumns(types, options, batch) {
    const given = {};
    this.input.slots.forEach(({ name }, at) => {
      given[name] = new Column(types[at], this.input.slots[at].type, batch.rows, batch.columns[at].buffers);
    });
    let mapped = this.columns(given, options);
    if (!(mapped instanceof Mapped)) mapped = new Mapped(mapped);
    const { origin, rejected } = mapped.checked(batch.rows, this.name);
    const rows = origin ? origin.length : batch.rows;
    if (typeof mapped.columns !== "object" || mapped.columns === null) {
      throw new Misfit(`${this.name} returned ${show(mapped.columns)} where an object of columns belongs`);
    }
    const columns = this.output.slots.map((slot) => {
      const { count, buffers } = columnBuffers(slot, mapped.columns[slot.name], this.name);
      if (count !== rows) {
        throw new Misfit(`${this.name}: column \`${slot.name}\` has ${count} values where ${rows} rows are returned`);
      }
      return { buffers };
    });
    return { batch: { rows, columns }, origin: origin && bytesOf(origin), rejected };
  }
}

/** Calls `row` for each row, and puts what it gives into the row's place; whether each gave one plain object. */
function callAll(row, rows, options) {
  const count = rows.length;
  let plain = true;
  for (let at = 0; at < count; at += 1) {
    let result;
    try {
      result = row(rows[at], options);
    } catch (error) {
      if (!(error instanceof Reject)) throw error;
      result = error;
    }
    if (plain && (typeof result !== "object" || result === null || result.constructor !== Object)) plain = false;
    rows[at] = result;
  }
  return plain;
}

/** Collects what a function gives. Origins are kept from the first row that is filtered out, refused, or becomes several;
 * until then output row i is input row i. */
class Emitted {
  constructor(transform, { numbers, refused }) {
    this.sink = new Sink(transform.output, transform.name);
    this.numbers = numbers;
    this.origin = numbers ? [] : null;
    this.rejected = [...refused];
  }

  /** Takes one row for each row, the first of which is `from`. */
  rows(results, from) {
    for (let at = 0; this.origin && at < results.length; at += 1) this.origin.push(this.number(from + at));
    this.sink.take(results);
  }

  /** Takes whatever became of each row. */
  mixed(results, from) {
    this.origin ??= Array.from({ length: this.sink.rows }, (_, row) => row);
    const rows = [];
    for (let at = 0; at < results.length; at += 1) {
      const [result, row] = [results[at], this.number(from + at)];
      if (result === null || result === undefined) continue;
      const before = rows.length;
      try {
        if (result instanceof Reject) throw result;
        if (typeof result === "object" && typeof result[Symbol.iterator] === "function") {
          for (const one of result) rows.push(this.checked(one));
        } else rows.push(this.checked(result));
      } catch (error) {
        // What is given one by one may come to that late.
        if (!(error instanceof Reject)) throw error;
        rows.length = before;
        this.rejected.push({ row, reason: error.reason });
      }
      for (let more = before; more < rows.length; more += 1) this.origin.push(row);
    }
    this.sink.take(rows);
  }

  checked(result) {
    if (result instanceof Promise) throw new Misfit(`${this.sink.whose} returned a promise: it has to answer at once`);
    if (typeof result === "object" && result !== null && !(result instanceof Reject)) return result;
    throw new Misfit(`${this.sink.whose} returned ${show(result)} where an object belongs`);
  }

  number(row) {
    return this.numbers ? this.numbers[row] : row;
  }

  finish() {
    const { rows } = this.sink;
    return {
      batch: { rows, columns: this.sink.finish() },
      origin: this.origin ? bytesOf(Uint32Array.from(this.origin)) : undefined,
      rejected: this.rejected.sort((one, other) => one.row - other.row),
    };
  }
}

/** The types in which columns come, and the options; or everything that does not fit. */
export function bindAll(slots, given, wholeColumns, schema, text) {
  const { types, misfits } = fit(slots, given, wholeColumns);
  let options;
  try {
    options = parseOptions(schema, text);
  } catch (error) {
    if (!(error instanceof Misfit)) throw error;
    misfits.push(error.message);
  }
  if (misfits.length > 0) throw new Misfit(misfits.join("; "));
  return { types, options };
}

/** Makes a transform: see `index.d.ts`. */
export function transform(description) {
  return new Transform(description);
}
