// The types that a column can have, and what an author writes for them: `t.utf8`, `t.float64.nullable`,
// `t.list(t.int64)`.

/** A column's type, whether it may hold nulls, and the same of its items. */
export class Type {
  /** @param {string} name as in a project file @param {Type | null} item @param {boolean} isNullable */
  constructor(name, item = null, isNullable = false, packed = null) {
    this.name = name;
    this.item = item;
    this.isNullable = isNullable;
    /** What becomes of packed bytes: `map`, `set` or `plain`; null for a type of the contract. */
    this.packed = packed;
  }

  /** The same, with nulls. */
  get nullable() {
    return new Type(this.name, this.item, true, this.packed);
  }

  /** The contract's format string. */
  get format() {
    return this.item ? `+l<${this.item.format}>` : FORMATS[this.name];
  }

  /** How many buffers a column of this type has. */
  get buffers() {
    if (this.item) return 2 + this.item.buffers;
    return this.name === "utf8" || this.name === "binary" ? 3 : 2;
  }

  toString() {
    return this.item ? `list<${this.item}>` : this.name;
  }
}

const FORMATS = {
  boolean: "b",
  int32: "i",
  int64: "l",
  float32: "f",
  float64: "g",
  timestamp: "tsu:UTC",
  utf8: "u",
  binary: "z",
};
const NAMES = Object.fromEntries(Object.entries(FORMATS).map(([name, format]) => [format, name]));

/** How deep lists may be nested. */
const MAX_DEPTH = 8;

function nested(text, prefix, nameOf) {
  let depth = 0;
  while (text.startsWith(prefix) && text.endsWith(">") && depth <= MAX_DEPTH) {
    text = text.slice(prefix.length, -1);
    depth += 1;
  }
  const name = nameOf(text);
  if (name === undefined || depth > MAX_DEPTH) return null;
  let type = new Type(name);
  for (; depth > 0; depth -= 1) type = new Type("list", type);
  return type;
}

/** The type that a format string of the contract names; null if it is not one of those above. */
export function fromFormat(text) {
  return nested(text, "+l<", (format) => (Object.hasOwn(NAMES, format) ? NAMES[format] : undefined));
}

/** The type as a project file writes it: `int64`, `list<utf8>`. */
export function parseType(text) {
  return nested(text, "list<", (name) => (Object.hasOwn(FORMATS, name) ? name : undefined));
}

/** The types by name. */
export const t = {
  boolean: new Type("boolean"),
  int32: new Type("int32"),
  int64: new Type("int64"),
  float32: new Type("float32"),
  float64: new Type("float64"),
  timestamp: new Type("timestamp"),
  utf8: new Type("utf8"),
  binary: new Type("binary"),
  list: (item) => new Type("list", item),
  map: () => new Type("binary", null, false, "map"),
  set: () => new Type("binary", null, false, "set"),
  packed: () => new Type("binary", null, false, "plain"),
};

/** The columns of a record of types: name and type, in order. */
export function slotsOf(schema, whose) {
  if (typeof schema !== "object" || schema === null || schema instanceof Type) {
    throw new TypeError(`${whose} is a record of types, such as { amount: t.float64 }`);
  }
  return Object.entries(schema).map(([name, type]) => {
    if (!(type instanceof Type)) throw new TypeError(`${whose}: \`${name}\` has no type: write one of t, such as t.utf8`);
    return { name, type };
  });
}

/** Before all other moments: the time of nothing yet. */
export const EARLIEST = -(2n ** 63n);
