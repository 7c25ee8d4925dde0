// JavaScript without an outside: a component knows no clock and no chance, so that the clock stands still and chance begins
// anew at each call. Time is a column. Loaded before the author's module.

const RealDate = Date;

class StillDate extends RealDate {
  constructor(...parts) {
    if (parts.length === 0) super(0);
    else super(...parts);
  }

  static now() {
    return 0;
  }
}

/** Stops the clock, and makes chance the same each time. */
export function standStill() {
  globalThis.Date = StillDate;
  Math.random = random;
  for (const name of ["performance", "crypto", "fetch", "setTimeout", "setInterval"]) {
    Object.defineProperty(globalThis, name, { value: undefined, configurable: true });
  }
}

let state = 0;

/** Numbers that look random: the generator mulberry32. */
function random() {
  state = (state + 0x6d2b79f5) | 0;
  let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
  mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
}

/** Makes chance begin anew, so that no call depends on those before it. */
export function beforeCall() {
  state = 0;
}
