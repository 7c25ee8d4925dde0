// Whole columns, as a transform's `columns` is handed them and gives them back.

import { bytesOf, bit, decode, decodeText, encodeText, numbers, packBits, unpackBits, widened, writeColumn } from "./columns.js";
import { Misfit, show } from "./errors.js";

const ARRAYS = {
  int32: Int32Array,
  int64: BigInt64Array,
  float32: Float32Array,
  float64: Float64Array,
  timestamp: BigInt64Array,
};

/** One column of a batch. Nothing is read before it is asked for. */
export class Column {
  /** `type` is how the column lies, `wanted` how it was asked for. */
  constructor(type, wanted, rows, buffers) {
    this.type = type;
    this.wanted = wanted;
    this.length = rows;
    this.buffers = buffers;
  }

  /** The values one by one, null for nulls. */
  toArray() {
    const anything = (type) => ({ name: type.name, isNullable: true, item: type.item && anything(type.item) });
    const { values } = decode(this.type, this.buffers, 0, this.length, anything(this.wanted));
    return Array.isArray(values) ? values : Array.from(values);
  }

  [Symbol.iterator]() {
    return this.toArray()[Symbol.iterator]();
  }

  /** Whether row `row` is present. */
  isValid(row) {
    return this.buffers[0].length === 0 || bit(this.buffers[0], row);
  }

  /** Which rows are present; null where all are. */
  get valid() {
    return this.buffers[0].length === 0 ? null : unpackBits(this.buffers[0], this.length);
  }

  /** The numbers, as they lie: under a null, anything. */
  get values() {
    this.need("values", this.type.name in ARRAYS);
    const values = numbers(this.buffers[1], ARRAYS[this.type.name], this.length);
    const wide = widened(values, this.type, this.wanted);
    return Array.isArray(wide) ? BigInt64Array.from(wide) : values;
  }

  /** The booleans. */
  get flags() {
    this.need("flags", this.type.name === "boolean");
    return unpackBits(this.buffers[1], this.length);
  }

  /** The booleans turned around. */
  not() {
    this.need("not", this.type.name === "boolean");
    return this.with([this.buffers[0], this.buffers[1].map((byte) => ~byte)]);
  }

  /** Where each value begins, in bytes or in items; one more than there are rows. */
  get offsets() {
    this.need("offsets", this.buffers.length > 2);
    return numbers(this.buffers[1], Int32Array, this.length + 1, "offsets");
  }

  /** The bytes of all values, one after the other. */
  get data() {
    this.need("data", this.type.name === "utf8" || this.type.name === "binary");
    return this.buffers[2];
  }

  /** The text of all values, one after the other. `offsets` cut its bytes: the text itself only in ASCII. */
  get text() {
    this.need("text", this.type.name === "utf8");
    return decodeText(this.buffers[2]);
  }

  /** The items of all lists, one after the other. */
  get items() {
    this.need("items", this.type.item !== null);
    return new Column(this.type.item, this.wanted.item, this.offsets[this.length], this.buffers.slice(2));
  }

  /** The text with a change that works letter by letter: on all of it at once where it is ASCII, else value by value. */
  mapText(change) {
    const { text, data } = this;
    if (text.length === data.length) {
      const changed = encodeText(change(text));
      if (changed.length === data.length) return this.with([this.buffers[0], this.buffers[1], changed]);
    }
    const values = this.toArray().map((value) => (value === null ? null : change(value)));
    return this.with(writeColumn({ name: "text", type: this.type.nullable }, values, "mapText"));
  }

  /** The text in lower case. */
  toLowerCase() {
    return this.mapText((text) => text.toLowerCase());
  }

  /** The text in upper case. */
  toUpperCase() {
    return this.mapText((text) => text.toUpperCase());
  }

  /** A column of this type and length with other buffers. */
  with(buffers) {
    return new Column(this.type, this.wanted, this.length, buffers);
  }

  need(what, there) {
    if (!there) throw new Misfit(`a column of ${this.type} has no ${what}`);
  }
}

/** A column of text as it lies: all of it, and where each value begins in its bytes. */
export class Text {
  constructor(text, offsets, valid = null) {
    this.data = typeof text === "string" ? encodeText(text) : text;
    this.offsets = Int32Array.from(offsets);
    this.valid = valid;
    if (this.offsets[0] !== 0 || this.offsets[this.offsets.length - 1] !== this.data.length) {
      throw new Misfit(`offsets go from 0 to the ${this.data.length} bytes of the text`);
    }
  }
}

/** Columns with more to say than one row for each input row. */
export class Mapped {
  constructor(columns, { origin, rejected = [] } = {}) {
    this.columns = columns;
    this.origin = origin;
    this.rejected = rejected;
  }

  /** Origins and rejections as the contract wants them. */
  checked(rows, whose) {
    const seen = new Map();
    for (const { row, reason } of this.rejected) if (!seen.has(row)) seen.set(row, { row, reason: String(reason) });
    const rejected = [...seen.values()].sort((one, other) => one.row - other.row);
    const odd = rejected.find(({ row }) => !(Number.isInteger(row) && row >= 0 && row < rows));
    if (odd) throw new Misfit(`${whose} refuses row ${odd.row}, of ${rows} rows`);
    if (!this.origin) return { origin: undefined, rejected };
    const origin = Uint32Array.from(this.origin);
    for (let at = 0; at < origin.length; at += 1) {
      if (origin[at] !== this.origin[at] || origin[at] >= rows) throw new Misfit(`${whose}: origin ${this.origin[at]}, of ${rows} rows`);
      if (at > 0 && origin[at] < origin[at - 1]) throw new Misfit(`${whose}: origins that decrease`);
      if (seen.has(origin[at])) throw new Misfit(`${whose}: row ${origin[at]} is both refused and returned`);
    }
    return { origin, rejected };
  }
}

/** Columns with more to say than one row for each input row: `origin` has the input row of each output row, never
 * decreasing, `rejected` the rows that are refused. */
export function mapped(columns, more) {
  return new Mapped(columns, more);
}

/** A column that the author returns: how many values it has, and its buffers. */
export function columnBuffers(slot, given, whose) {
  const { name, type } = slot;
  const refuseNulls = (valid) => {
    if (!type.isNullable && valid?.includes(false)) {
      throw new Misfit(`${whose}: column \`${name}\` (${type}) holds a null, and its type is not .nullable`);
    }
  };
  if (given instanceof Column && String(given.type) === String(type)) {
    refuseNulls(given.valid);
    return { count: given.length, buffers: given.buffers };
  }
  if (given instanceof Text && type.name === "utf8") {
    refuseNulls(given.valid);
    const validity = given.valid ? packBits(given.valid) : new Uint8Array(0);
    return { count: given.offsets.length - 1, buffers: [validity, bytesOf(given.offsets), given.data] };
  }
  if (ARRAYS[type.name] && given instanceof ARRAYS[type.name]) {
    return { count: given.length, buffers: [new Uint8Array(0), bytesOf(given)] };
  }
  const values = Array.isArray(given) || ArrayBuffer.isView(given) ? given : iterated(given);
  if (!values) throw new Misfit(`${whose}: column \`${name}\` is ${show(given) ?? "missing"}, and no values`);
  return { count: values.length, buffers: writeColumn(slot, values, whose) };
}

function iterated(given) {
  return typeof given === "object" && given !== null && typeof given[Symbol.iterator] === "function" ? [...given] : null;
}
