// What no column fits, as one column of bytes: MessagePack in its one canonical form.
//
// Each number in its shortest form, a number that is not whole as a float of 64 bits, the keys of a map sorted, and the
// members of a set: numbers by size, texts by their UTF-8 bytes. So equal states are equal bytes, in whatever order they
// came about. The format is that of https://github.com/msgpack/msgpack/blob/master/spec.md, without extensions.

import { Misfit, show } from "./errors.js";
import { decodeText, encodeText } from "./columns.js";

/** The bytes of a value: plain ones, arrays, objects, Map, Set, Uint8Array. */
export function pack(value) {
  const out = new Writer();
  put(out, value);
  return out.bytes.slice(0, out.at);
}

class Writer {
  constructor() {
    this.bytes = new Uint8Array(64);
    this.view = new DataView(this.bytes.buffer);
    this.at = 0;
  }

  /** Makes room for `count` bytes, and returns where they begin. */
  room(count) {
    const at = this.at;
    if (at + count > this.bytes.length) {
      const wider = new Uint8Array(Math.max(2 * this.bytes.length, at + count));
      wider.set(this.bytes);
      this.bytes = wider;
      this.view = new DataView(wider.buffer);
    }
    this.at += count;
    return at;
  }

  byte(byte) {
    const at = this.room(1); // before `this.bytes`, which it may replace
    this.bytes[at] = byte;
  }

  all(bytes) {
    const at = this.room(bytes.length);
    this.bytes.set(bytes, at);
  }

  float(value) {
    this.byte(0xcb);
    const at = this.room(8);
    this.view.setFloat64(at, value);
  }

  /** A code, and a number of `width` bytes after it. */
  number(code, width, value) {
    this.byte(code);
    const at = this.room(width);
    if (width === 8) this.view.setBigUint64(at, BigInt.asUintN(64, BigInt(value)));
    else if (width === 4) this.view.setUint32(at, Number(value));
    else if (width === 2) this.view.setUint16(at, Number(value));
    else this.view.setUint8(at, Number(value));
  }

  /** The head of something with a length: `fix` where it is at most `most`, else the first of `codes` that holds it. */
  head(length, fix, most, codes) {
    if (length <= most) return this.byte(fix | length);
    const widths = codes.length === 3 ? [1, 2, 4] : [2, 4];
    const which = widths.findIndex((width) => length < 2 ** (8 * width));
    return this.number(codes[which], widths[which], length);
  }
}

function put(out, value) {
  switch (typeof value) {
    case "string": {
      const bytes = encodeText(value);
      out.head(bytes.length, 0xa0, 31, [0xd9, 0xda, 0xdb]);
      return out.all(bytes);
    }
    case "number":
      if (Number.isSafeInteger(value) && !Object.is(value, -0)) return putInteger(out, value);
      return out.float(value);
    case "bigint":
      return putInteger(out, value);
    case "boolean":
      return out.byte(value ? 0xc3 : 0xc2);
    case "undefined":
      return out.byte(0xc0);
    case "object":
      return putObject(out, value);
    default:
      throw new Misfit(`a ${typeof value} cannot be kept in a state`);
  }
}

function putObject(out, value) {
  if (value === null) return out.byte(0xc0);
  if (value instanceof Uint8Array) {
    out.head(value.length, 0, -1, [0xc4, 0xc5, 0xc6]);
    return out.all(value);
  }
  if (Array.isArray(value) || value instanceof Set) {
    const items = Array.isArray(value) ? value : sorted([...value], (item) => item);
    out.head(items.length, 0x90, 15, [0xdc, 0xdd]);
    return items.forEach((item) => put(out, item));
  }
  const proto = Object.getPrototypeOf(value);
  if (!(value instanceof Map) && proto !== Object.prototype && proto !== null) {
    throw new Misfit(`a ${proto?.constructor?.name ?? "thing"} cannot be kept in a state`);
  }
  const entries = sorted(value instanceof Map ? [...value] : Object.entries(value), (entry) => entry[0]);
  out.head(entries.length, 0x80, 15, [0xde, 0xdf]);
  for (const [key, item] of entries) {
    put(out, key);
    put(out, item);
  }
}

function putInteger(out, value) {
  const big = typeof value === "bigint";
  const limit = (bits) => (big ? 1n << BigInt(bits) : 2 ** bits);
  if (value >= (big ? -32n : -32) && value < limit(7)) return out.byte(Number(value) & 0xff);
  for (let index = 0; index < 4; index += 1) {
    const width = 1 << index;
    if (value >= 0 && value < limit(8 * width)) return out.number(0xcc + index, width, value);
    if (value < 0 && value >= -limit(8 * width - 1)) return out.number(0xd0 + index, width, value);
  }
  throw new Misfit(`${value} does not fit into 64 bits`);
}

const RANKS = { boolean: 1, number: 2, bigint: 2, string: 3 };

function sorted(values, keyOf) {
  return values.sort((one, other) => compare(keyOf(one), keyOf(other)));
}

function compare(a, b) {
  const [one, other] = [RANKS[typeof a], RANKS[typeof b]];
  if (!one || !other) throw new Misfit(`${show(one ? b : a)} cannot be a key in a state: it has no order`);
  if (one !== other) return one - other;
  if (one === 3) return compareText(a, b);
  return a < b ? -1 : a > b ? 1 : 0;
}

/** The order of two texts' UTF-8 bytes, which is that of their code points, and not JavaScript's own. */
export function compareText(a, b) {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i += 1) {
    const [one, other] = [a.charCodeAt(i), b.charCodeAt(i)];
    if (one !== other) {
      // Halves of surrogate pairs stand for what lies beyond all single ones.
      const [oneHalf, otherHalf] = [one >= 0xd800 && one < 0xe000, other >= 0xd800 && other < 0xe000];
      return oneHalf !== otherHalf ? (oneHalf ? 1 : -1) : one - other;
    }
  }
  return a.length - b.length;
}

/** The value of some bytes; maps as Map where `asMaps`, else as objects. */
export function unpack(bytes, asMaps = false) {
  const reader = new Reader(bytes, asMaps);
  const value = reader.value();
  if (reader.at !== bytes.length) throw new Misfit("packed bytes go on after their value");
  return value;
}

class Reader {
  constructor(bytes, asMaps) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.asMaps = asMaps;
    this.at = 0;
  }

  take(count) {
    const at = this.at;
    if (at + count > this.bytes.length) throw new Misfit("packed bytes end too early");
    this.at += count;
    return at;
  }

  unsigned(width) {
    const at = this.take(width);
    if (width === 8) return narrow(this.view.getBigUint64(at));
    return width === 4 ? this.view.getUint32(at) : width === 2 ? this.view.getUint16(at) : this.view.getUint8(at);
  }

  signed(width) {
    const at = this.take(width);
    if (width === 8) return narrow(this.view.getBigInt64(at));
    return width === 4 ? this.view.getInt32(at) : width === 2 ? this.view.getInt16(at) : this.view.getInt8(at);
  }

  value() {
    const code = this.unsigned(1);
    if (code < 0x80) return code;
    if (code < 0x90) return this.map(code & 15);
    if (code < 0xa0) return this.list(code & 15);
    if (code < 0xc0) return this.text(code & 31);
    if (code >= 0xe0) return code - 256;
    switch (code) {
      case 0xc0: return null;
      case 0xc2: return false;
      case 0xc3: return true;
      case 0xc4: case 0xc5: case 0xc6: return this.binary(this.unsigned(1 << (code - 0xc4)));
      case 0xca: return this.view.getFloat32(this.take(4));
      case 0xcb: return this.view.getFloat64(this.take(8));
      case 0xcc: case 0xcd: case 0xce: case 0xcf: return this.unsigned(1 << (code - 0xcc));
      case 0xd0: case 0xd1: case 0xd2: case 0xd3: return this.signed(1 << (code - 0xd0));
      case 0xd9: case 0xda: case 0xdb: return this.text(this.unsigned(1 << (code - 0xd9)));
      case 0xdc: case 0xdd: return this.list(this.unsigned(2 << (code - 0xdc)));
      case 0xde: case 0xdf: return this.map(this.unsigned(2 << (code - 0xde)));
      default: throw new Misfit(`packed bytes hold the code 0x${code.toString(16)}, which is none of ours`);
    }
  }

  binary(length) {
    const at = this.take(length);
    return this.bytes.slice(at, at + length);
  }

  text(length) {
    const at = this.take(length);
    return decodeText(this.bytes.subarray(at, at + length));
  }

  list(length) {
    const items = [];
    for (let item = 0; item < length; item += 1) items.push(this.value());
    return items;
  }

  map(length) {
    const found = this.asMaps ? new Map() : {};
    for (let entry = 0; entry < length; entry += 1) {
      const key = this.value();
      const value = this.value();
      if (this.asMaps) found.set(key, value);
      else Object.defineProperty(found, key, { value, writable: true, enumerable: true, configurable: true });
    }
    return found;
  }
}

/** A number where it is one without loss. */
function narrow(value) {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}
