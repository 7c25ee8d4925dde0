// A column's buffers as JavaScript's values and back, a whole column at a time.
//
// Buffers are Arrow's, little-endian. Numbers are typed arrays over the buffer, text is decoded once a column where it is
// ASCII: what happens once a value happens in as few steps as can be, since the engine in a component only interprets.

import { Misfit, describe, show } from "./errors.js";

const ARRAYS = {
  int32: Int32Array,
  int64: BigInt64Array,
  float32: Float32Array,
  float64: Float64Array,
  timestamp: BigInt64Array,
};

// A byte order mark is text like any other.
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
const encoder = new TextEncoder();
const EMPTY = new Uint8Array(0);

/** A buffer's numbers, as they lie. */
export function numbers(buffer, Kind, rows, what = "values") {
  const wanted = rows * Kind.BYTES_PER_ELEMENT;
  if (buffer.length < wanted) throw new Misfit(`its ${what} buffer has ${buffer.length} bytes where ${wanted} belong`);
  if (buffer.byteOffset % Kind.BYTES_PER_ELEMENT !== 0) buffer = buffer.slice();
  return new Kind(buffer.buffer, buffer.byteOffset, rows);
}

/** The bytes of a typed array. */
export function bytesOf(array) {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

/** Whether a row's bit is set. */
export function bit(bits, row) {
  return ((bits[row >> 3] >> (row & 7)) & 1) === 1;
}

/** Bits as an array of true and false. */
export function unpackBits(bits, rows) {
  if (bits.length < (rows + 7) >> 3) throw new Misfit(`a buffer of bits has ${bits.length} bytes for ${rows} rows`);
  const flags = new Array(rows);
  for (let row = 0; row < rows; row += 1) flags[row] = ((bits[row >> 3] >> (row & 7)) & 1) === 1;
  return flags;
}

/** True and false, or 0 and 1, as bits. */
export function packBits(flags) {
  const count = flags.length;
  const bits = new Uint8Array((count + 7) >> 3);
  let row = 0;
  for (let at = 0; row + 8 <= count; at += 1, row += 8) {
    bits[at] = flags[row] | (flags[row + 1] << 1) | (flags[row + 2] << 2) | (flags[row + 3] << 3) |
      (flags[row + 4] << 4) | (flags[row + 5] << 5) | (flags[row + 6] << 6) | (flags[row + 7] << 7);
  }
  for (; row < count; row += 1) if (flags[row]) bits[row >> 3] |= 1 << (row & 7);
  return bits;
}

/**
 * A column's values, null for nulls, and which rows have no place for what they hold: null where all have.
 * `at` is where the column's buffers begin.
 */
export function decode(given, buffers, at, rows, wanted) {
  const validity = buffers[at];
  let { values, misfits } = decodeValues(given, buffers, at + 1, rows, wanted);
  if (validity.length > 0) {
    const valid = unpackBits(validity, rows);
    if (valid.includes(false)) {
      values = Array.isArray(values) ? values : Array.from(values);
      const strict = !wanted.isNullable;
      if (strict && !misfits) misfits = new Uint8Array(rows);
      for (let row = 0; row < rows; row += 1) {
        if (valid[row]) continue;
        values[row] = null;
        // What lies under a null that may be there is nobody's business.
        if (misfits) misfits[row] = strict ? 1 : 0;
      }
    }
  }
  return { values, misfits };
}

function decodeValues(given, buffers, at, rows, wanted) {
  const { name } = given;
  if (given.item) {
    const offsets = numbers(buffers[at], Int32Array, rows + 1, "offsets");
    const inner = decode(given.item, buffers, at + 1, offsets[rows], wanted.item);
    const wide = widened(inner.values, given.item, wanted.item);
    const items = Array.isArray(wide) ? wide : Array.from(wide);
    const values = new Array(rows);
    let misfits = null;
    for (let row = 0; row < rows; row += 1) values[row] = items.slice(offsets[row], offsets[row + 1]);
    if (inner.misfits) {
      misfits = new Uint8Array(rows);
      for (let row = 0; row < rows; row += 1) {
        if (inner.misfits.subarray(offsets[row], offsets[row + 1]).includes(1)) misfits[row] = 1;
      }
    }
    return { values, misfits };
  }
  if (name === "boolean") return { values: unpackBits(buffers[at], rows), misfits: null };
  if (ARRAYS[name]) {
    return { values: widened(numbers(buffers[at], ARRAYS[name], rows), given, wanted), misfits: null };
  }
  const offsets = numbers(buffers[at], Int32Array, rows + 1, "offsets");
  return { values: pieces(name, offsets, buffers[at + 1], rows), misfits: null };
}

/** Text or bytes, value by value. */
function pieces(name, offsets, data, rows) {
  const values = new Array(rows);
  let start = offsets[0];
  if (name === "binary") {
    for (let row = 0; row < rows; row += 1) values[row] = data.slice(start, (start = offsets[row + 1]));
    return values;
  }
  const text = decoder.decode(data);
  if (text.length === data.length) {
    // In ASCII bytes are letters, so that the offsets cut the text as well.
    for (let row = 0; row < rows; row += 1) values[row] = text.substring(start, (start = offsets[row + 1]));
  } else {
    for (let row = 0; row < rows; row += 1) values[row] = decoder.decode(data.subarray(start, (start = offsets[row + 1])));
  }
  return values;
}

/** int32 as int64: the only numbers that look otherwise when they are wider. */
export function widened(values, given, wanted) {
  if (given.name !== "int32" || wanted.name !== "int64") return values;
  const wide = new Array(values.length);
  for (let row = 0; row < values.length; row += 1) wide[row] = values[row] === null ? null : BigInt(values[row]);
  return wide;
}

/** The text of a column's data. */
export function decodeText(data) {
  return decoder.decode(data);
}

/** The bytes of a text. */
export function encodeText(text) {
  return encoder.encode(text);
}

const FILLERS = { boolean: false, utf8: "", int64: 0n, timestamp: 0n, binary: EMPTY, list: [] };

/** A column's buffers. */
export function encode(type, values) {
  const nulls = hasNull(values);
  if (!nulls) return [EMPTY, ...encodeValues(type, values)];
  if (!type.isNullable) {
    const row = values.findIndex((value) => value === null || value === undefined);
    throw new Misfit(`it is ${values[row]} in row ${row}, and its type is not .nullable`);
  }
  const count = values.length;
  const valid = new Array(count);
  const filled = new Array(count);
  const filler = FILLERS[type.name] ?? 0;
  for (let row = 0; row < count; row += 1) {
    const value = values[row];
    valid[row] = value !== null && value !== undefined;
    filled[row] = valid[row] ? value : filler;
  }
  return [packBits(valid), ...encodeValues(type, filled)];
}

function hasNull(values) {
  // Built in, and so faster than a loop.
  return Array.isArray(values) && (values.includes(null) || values.includes(undefined));
}

function encodeValues(type, values) {
  const { name } = type;
  if (name === "utf8") return encodeTexts(values);
  const count = values.length;
  switch (name) {
    case "boolean":
      return [packBits(checked(values, "boolean"))];
    case "float64":
    case "float32":
      return [bytesOf(ARRAYS[name].from(checked(values, "number")))];
    case "int32":
      return [bytesOf(Int32Array.from(checked(values, "number", (value) => value === (value | 0))))];
    case "int64":
    case "timestamp":
      return [bytesOf(BigInt64Array.from(checked(values, "bigint", (value) => value === BigInt.asIntN(64, value))))];
    case "binary": {
      const at = new Int32Array(count + 1);
      let end = 0;
      for (let row = 0; row < count; row += 1) {
        if (!(values[row] instanceof Uint8Array)) throw wrong(values[row], row, "a Uint8Array");
        end += values[row].length;
        at[row + 1] = end;
      }
      limited(end);
      const data = new Uint8Array(end);
      for (let row = 0; row < count; row += 1) data.set(values[row], at[row]);
      return [bytesOf(at), data];
    }
    default: {
      const at = new Int32Array(count + 1);
      const items = [];
      for (let row = 0; row < count; row += 1) {
        const list = values[row];
        if (!Array.isArray(list) && !ArrayBuffer.isView(list)) throw wrong(list, row, "an array");
        for (let item = 0; item < list.length; item += 1) items.push(list[item]);
        at[row + 1] = items.length;
      }
      return [bytesOf(at), ...encode(type.item, items)];
    }
  }
}

function limited(end) {
  if (end >= 2 ** 31) throw new Misfit("it has more than 2 GiB in one batch");
}

function encodeTexts(values) {
  const count = values.length;
  const at = new Int32Array(count + 1);
  let end = 0;
  for (let row = 0; row < count; row += 1) {
    const value = values[row];
    if (typeof value !== "string") throw wrong(value, row, "a string");
    end += value.length;
    at[row + 1] = end;
  }
  const data = encoder.encode(values.join(""));
  limited(data.length);
  if (data.length === end) return [bytesOf(at), data];
  // Beyond ASCII each value is as long as it is. Half a surrogate pair is not text, and becomes U+FFFD.
  const parts = values.map((value) => encoder.encode(value));
  end = 0;
  for (let row = 0; row < count; row += 1) {
    end += parts[row].length;
    at[row + 1] = end;
  }
  if (end === data.length) return [bytesOf(at), data];
  const whole = new Uint8Array(end);
  for (let row = 0; row < count; row += 1) whole.set(parts[row], at[row]);
  return [bytesOf(at), whole];
}

const WORDS = { boolean: "true or false", number: "a number", bigint: "a bigint, such as 1n" };

function checked(values, kind, also) {
  if (ArrayBuffer.isView(values)) return values;
  for (let row = 0; row < values.length; row += 1) {
    const value = values[row];
    if (typeof value !== kind) throw wrong(value, row, WORDS[kind]);
    if (also && !also(value)) throw wrong(value, row, kind === "number" ? "a whole number of 32 bits" : "one of 64 bits");
  }
  return values;
}

function wrong(value, row, wanted) {
  const shown = show(value);
  return new Misfit(`it is ${shown.length > 60 ? `${shown.slice(0, 60)}…` : shown} in row ${row}, not ${wanted}`);
}

/** One column's buffers; `whose` says who gave the values, for errors. */
export function writeColumn({ name, type }, values, whose) {
  try {
    return encode(type, values);
  } catch (error) {
    throw new Misfit(`${whose}: column \`${name}\` (${type}): ${describe(error)}`);
  }
}
