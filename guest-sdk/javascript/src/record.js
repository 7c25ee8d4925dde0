// Rows as objects: read from columns, written to columns.
//
// The code that makes objects of a record's columns, and takes them apart, is made once for each record, when the author's
// module is loaded: an interpreter runs `{ amount: a[i], merchant: b[i] }` several times faster than a loop over names.

import { decode, writeColumn } from "./columns.js";
import { Misfit } from "./errors.js";
import { pack, unpack } from "./messagepack.js";

/** A function that makes `count` objects of columns. */
export function maker(slots) {
  const parameters = slots.map((_, at) => `c${at}`);
  const fields = slots.map(({ name }, at) => `${property(name)}: c${at}[i]`);
  const body = `const rows = new Array(count); for (let i = 0; i < count; i += 1) rows[i] = { ${fields.join(", ")} }; return rows;`;
  return new Function("count", ...parameters, body);
}

/** A function that takes one field out of each of many objects. */
export function picker({ name }) {
  const access = `rows[i][${JSON.stringify(name)}]`;
  return new Function(
    "rows",
    `const count = rows.length, values = new Array(count); for (let i = 0; i < count; i += 1) values[i] = ${access}; return values;`,
  );
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

/** A batch's rows as objects, without those that hold a null where there is no place for one; `numbers` has which rows
 * they are, or is null where they are all. */
export function readRows(record, types, columns, rows) {
  const decoded = decodeColumns(record.slots, types, columns, rows);
  let values = decoded.map((column) => column.values);
  const misfits = decoded.map(({ misfits }, at) => ({ name: record.slots[at].name, misfits }))
    .filter(({ misfits }) => misfits?.includes(1));
  if (misfits.length === 0) return { objects: record.make(rows, ...values), numbers: null, refused: [] };
  const numbers = [];
  const refused = [];
  for (let row = 0; row < rows; row += 1) {
    const misfit = misfits.find(({ misfits }) => misfits[row] === 1);
    if (misfit) refused.push({ row, reason: `\`${misfit.name}\` is null, or holds a null` });
    else numbers.push(row);
  }
  values = values.map((column) => numbers.map((row) => column[row]));
  return { objects: record.make(numbers.length, ...values), numbers, refused };
}

/** The columns of objects. */
export function writeRows(record, objects, whose) {
  return record.slots.map((slot, at) => {
    let values = record.pickers[at](objects);
    if (slot.type.packed) {
      try {
        values = values.map((value) => (value === null || value === undefined ? value : pack(value)));
      } catch (error) {
        throw new Misfit(`${whose}: field \`${slot.name}\`: ${error.message}`);
      }
    }
    return { buffers: writeColumn(slot, values, whose) };
  });
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
