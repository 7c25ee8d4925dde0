// Fitting the columns that a project gives to those that a UDF wants: all misfits in one message, each with its cure.
//
// What fits: the same type; int32 for int64 and float32 for float64, widened; a column without nulls for one that may
// have them. A column that may have nulls fits a row's field that may not as well: the rows that do have one are refused,
// one by one. It does not fit whole columns, where no row could be.

import { fromFormat } from "./types.js";

/** A column that is returned, in the contract's words. */
export function fieldOf({ name, type }) {
  return { name, format: type.format, nullable: type.isNullable };
}

/** The types in which the wanted columns come, and what does not fit. */
export function fit(wanted, given, wholeColumns) {
  const types = [];
  const misfits = [];
  for (const slot of wanted) {
    const found = fitOne(slot, given, wholeColumns);
    if (typeof found === "string") misfits.push(found);
    else types.push(found);
  }
  return { types, misfits };
}

function fitOne({ name, type }, given, wholeColumns) {
  const field = given.find((field) => field.name === name);
  if (!field) return missing(name, type, given);
  const found = fromFormat(field.format);
  if (!found) return `column \`${name}\` has the format \`${field.format}\`, which this UDF's SDK does not know`;
  if (!widens(found, type)) {
    return `column \`${name}\` is ${found}, wanted ${type}: map an expression of that type to \`${name}\``;
  }
  if (field.nullable && !type.isNullable && wholeColumns) {
    return `column \`${name}\` may be null, wanted ${type} without nulls: map \`coalesce(${name}, …)\` to \`${name}\``;
  }
  return found;
}

function widens(given, wanted) {
  if (given.item && wanted.item) return widens(given.item, wanted.item);
  const [from, to] = [given.name, wanted.name];
  return (from === to && !given.item === !wanted.item) ||
    (from === "int32" && to === "int64") || (from === "float32" && to === "float64");
}

function missing(name, type, given) {
  if (given.length === 0) return `no column \`${name}\` (${type}): none is given`;
  const names = given.map((field) => field.name);
  const nearest = names.reduce((best, other) => (likeness(other, name) > likeness(best, name) ? other : best));
  const listed = names.map((other) => `\`${other}\``).join(", ");
  return `no column \`${name}\` (${type}) among ${listed}: map one to it, as in { ${name} = "${nearest}" }`;
}

/** How alike two names are, from 0 to 1: Jaro's and Winkler's measure, as in the other SDKs. */
export function likeness(a, b) {
  if (!a || !b) return Number(a === b);
  const reach = Math.max(Math.floor(Math.max(a.length, b.length) / 2) - 1, 0);
  const taken = new Array(b.length).fill(false);
  const matchedA = [];
  for (let i = 0; i < a.length; i += 1) {
    for (let j = Math.max(0, i - reach); j < Math.min(b.length, i + reach + 1); j += 1) {
      if (!taken[j] && a[i] === b[j]) {
        taken[j] = true;
        matchedA.push(a[i]);
        break;
      }
    }
  }
  const count = matchedA.length;
  if (count === 0) return 0;
  const matchedB = [...b].filter((_, j) => taken[j]);
  const swapped = Math.floor(matchedA.filter((letter, i) => letter !== matchedB[i]).length / 2);
  const jaro = (count / a.length + count / b.length + (count - swapped) / count) / 3;
  let prefix = 0;
  while (prefix < 4 && prefix < a.length && prefix < b.length && a[prefix] === b[prefix]) prefix += 1;
  return jaro + 0.1 * prefix * (1 - jaro);
}
