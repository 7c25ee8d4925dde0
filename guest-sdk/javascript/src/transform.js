// Transforms: a function over rows, or over whole columns, and how what it gives becomes rows with their origins.

import { fieldOf, fit } from "./bind.js";
import { Column, Mapped, columnBuffers } from "./column.js";
import { bytesOf } from "./columns.js";
import { Misfit, Reject, show } from "./errors.js";
import { checkOptions, parseOptions } from "./options.js";
import { readRows, recordOf, writeRows } from "./record.js";
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
    const { objects, numbers, refused } = readRows(this.input, types, batch.columns, batch.rows);
    const count = objects.length;
    const results = new Array(count);
    const { row } = this;
    let plain = true;
    for (let at = 0; at < count; at += 1) {
      let result;
      try {
        result = row(objects[at], options);
      } catch (error) {
        if (!(error instanceof Reject)) throw error;
        result = error;
      }
      // A plain object is one row; all else is looked at later.
      if (plain && (typeof result !== "object" || result === null || result.constructor !== Object)) plain = false;
      results[at] = result;
    }
    if (plain && numbers === null) {
      const columns = writeRows(this.output, results, this.name);
      return { batch: { rows: count, columns }, origin: undefined, rejected: [] };
    }
    return this.sortOut(results, numbers, refused);
  }

  /** Takes results apart that are more than one row each. */
  sortOut(results, numbers, refused) {
    const rows = [];
    const origin = [];
    const rejected = [...refused];
    results.forEach((result, at) => {
      const row = numbers === null ? at : numbers[at];
      if (result === null || result === undefined) return;
      if (result instanceof Reject) {
        rejected.push({ row, reason: result.reason });
        return;
      }
      const before = rows.length;
      try {
        if (typeof result === "object" && typeof result[Symbol.iterator] === "function") rows.push(...result);
        else rows.push(result);
      } catch (error) {
        // What is given one by one may come to that late.
        if (!(error instanceof Reject)) throw error;
        rows.length = before;
        rejected.push({ row, reason: error.reason });
      }
      for (let more = before; more < rows.length; more += 1) origin.push(row);
    });
    const odd = rows.find((row) => typeof row !== "object" || row === null || row instanceof Reject);
    if (odd !== undefined) throw new Misfit(`${this.name} returned ${show(odd)} where an object belongs`);
    rejected.sort((one, other) => one.row - other.row);
    const columns = writeRows(this.output, rows, this.name);
    return { batch: { rows: rows.length, columns }, origin: bytesOf(Uint32Array.from(origin)), rejected };
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
