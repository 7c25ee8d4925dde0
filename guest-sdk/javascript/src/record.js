// Rows as objects: read from columns, written to columns.
//
// The code that makes objects of a record's columns, and takes them apart, is made once for each record, when the author's
// module is loaded: an interpreter runs `{ amount: a[i], merchant: b[i] }` several times faster than a loop over names.

import { decode, writeColumn } from "./columns.js";
import { Misfit } from "./errors.js";
import { pack, unpack } from "./messagepack.js";

/** How many rows are objects at a time: more would fill an instance's memory before any is let go. */
export const CHUNK = 512;

/** A function that makes objects of the rows from `from` to `to` of columns. */
export function maker(slots) {
  const parameters = slots.map((_, at) => `c${at}`);
  const fields = slots.map(({ name }, at) => `${property(name)}: c${at}[i]`);
  const loop = `for (let i = from; i < to; i += 1) rows[i - from] = { ${fields.join(", ")} };`;
  return new Function("from", "to", ...parameters, `const rows = new Array(to - from); ${loop} return rows;`);
}

/** A function that appends one field of each of many objects to an array. */
export function picker({ name }) {
  const loop = `for (let i = 0; i < count; i += 1) values.push(rows[i][${JSON.stringify(name)}]);`;
  return new Function("rows", "values", `const count = rows.length; ${loop}`);
}

function property(name) {
  // A literal `__proto__: x` would set the prototype.
  return `[${JSON.stringify(name)}]`;
}

/** Each column's values, and which rows hold one that there is no place for. */
export function decodeColumns(slots, types, columns, rows) {
  if (columns.length !== slots.length) {
    throw new Misfit(`${columns.length} columns where ${slots.length} were asked for`);
  }
  return slots.map(({ name, type }, at) => {
    const { buffers } = columns[at];
    if (buffers.length !== types[at].buffers) {
      throw new Misfit(`column \`${name}\`: ${buffers.length} buffers where ${types[at]} has ${types[at].buffers}`);
    }
    try {
      return decode(types[at], buffers, 0, rows, type);
    } catch (error) {
      throw new Misfit(`column \`${name}\`: ${error.message}`);
    }
  });
}

/**
 * A batch's rows, without those that hold a null where there is no place for one: how many there are, and the objects of
 * the rows from one to another. `numbers` has which rows of the batch they are, or is null where they are all.
 */
export function readRows(record, types, columns, rows) {
  const decoded = decodeColumns(record.slots, types, columns, rows);
  let values = decoded.map((column) => column.values);
  const misfits = decoded.map(({ misfits }, at) => ({ name: record.slots[at].name, misfits }))
    .filter(({ misfits }) => misfits?.includes(1));
  const numbers = misfits.length === 0 ? null : [];
  const refused = [];
  for (let row = 0; numbers && row < rows; row += 1) {
    const misfit = misfits.find(({ misfits }) => misfits[row] === 1);
    if (misfit) refused.push({ row, reason: `\`${misfit.name}\` is null, or holds a null` });
    else numbers.push(row);
  }
  if (numbers) values = values.map((column) => numbers.map((row) => column[row]));
  const objects = (from, to) => record.make(from, to, ...values);
  return { count: numbers ? numbers.length : rows, objects, numbers, refused };
}

/** The columns of objects, being written. */
export class Sink {
  constructor(record, whose) {
    this.record = record;
    this.whose = whose;
    this.rows = 0;
    this.values = record.slots.map(() => []);
  }

  /** Appends objects. */
  take(objects) {
    const { pickers } = this.record;
    for (let at = 0; at < pickers.length; at += 1) pickers[at](objects, this.values[at]);
    this.rows += objects.length;
  }

  /** The columns' buffers. */
  finish() {
    return this.record.slots.map((slot, at) => {
      let values = this.values[at];
      this.values[at] = null;
      if (slot.type.packed) values = packed(slot, values, this.whose);
      return { buffers: writeColumn(slot, values, this.whose) };
    });
  }
}

function packed({ name }, values, whose) {
  try {
    return values.map((value) => (value === null || value === undefined ? value : pack(value)));
  } catch (error) {
    throw new Misfit(`${whose}: field \`${name}\`: ${error.message}`);
  }
}

/** The columns of objects. */
export function writeRows(record, objects, whose) {
  const sink = new Sink(record, whose);
  sink.take(objects);
  return sink.finish();
}

/** A record of columns, ready to be read and written. */
export function recordOf(slots) {
  return { slots, make: maker(slots), pickers: slots.map(picker) };
}

/** A packed column's values. */
export function unpackColumn(type, values) {
  const unpacked = values.map((value) => (value === null ? null : unpack(value, type.packed === "map")));
  return type.packed === "set" ? unpacked.map((items) => (items === null ? null : new Set(items))) : unpacked;
}
