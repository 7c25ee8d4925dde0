// What went wrong, in one line: an error's message, and the place in the author's code where it came from.
//
// A component that lets an error through traps, and the host learns nothing but that; so every call goes through `told`.

/** Refuses the row at hand: returned, or thrown. The host keeps it as a dead letter with the reason. */
export class Reject {
  constructor(reason = "refused") {
    this.reason = String(reason);
  }
}

/** Refuses the row at hand, for this reason. */
export function reject(reason) {
  return new Reject(reason);
}

/** What the author or the project's author did wrong, in words of its own: needs no name of a class before it. */
export class Misfit extends Error {}

/** Where a line of the bundle comes from, as the build has left it: pairs of a file's index and a line, for each line. */
function origin(line) {
  const { files, pairs } = globalThis.millraceLines;
  const file = files[pairs[2 * (line - 1)]];
  return file === undefined ? null : `${file}:${pairs[2 * (line - 1) + 1]}`;
}

// `at name (file:///a/b.js:1:2)` in V8, `name@b.js:1:2` in SpiderMonkey.
const FRAME = /^\s*(?:at )?(?:(?:async )?([^@(]*?)(?:@| \())?((?:file:\/\/)?[^()@\s]+?):(\d+)(?::\d+)?\)?$/;

/** The innermost line of the author's code that an error came through: `clean.ts:12`. */
export function placeOf(error) {
  const stack = typeof error?.stack === "string" ? error.stack : "";
  for (const frame of stack.split("\n")) {
    const found = FRAME.exec(frame);
    if (!found) continue;
    const [, , file, line] = found;
    if (globalThis.millraceLines) {
      const place = origin(Number(line));
      if (place) return place;
    } else if (!file.includes("/javascript/src/") && !file.startsWith("node:")) {
      return `${file.slice(file.lastIndexOf("/") + 1)}:${line}`;
    }
  }
  return null;
}

/** An error in one line: `TypeError: r.amount is undefined (clean.ts:12)`. */
export function describe(error) {
  if (error instanceof Reject) return error.reason;
  if (error instanceof Misfit) return error.message;
  if (!(error instanceof Error)) return `${typeof error === "string" ? error : show(error)} (thrown)`;
  const said = error.message ? `${error.name}: ${error.message}` : error.name;
  const place = placeOf(error);
  return place ? `${said} (${place})` : said;
}

/** A value for an error's words. */
export function show(value) {
  if (typeof value === "bigint") return `${value}n`;
  try {
    return JSON.stringify(value) ?? String(value);
  } catch {
    return Object.prototype.toString.call(value);
  }
}

/** Calls, and throws a string that tells of whatever was thrown. */
export function told(call) {
  try {
    return call();
  } catch (error) {
    let words = "an error that cannot be shown";
    try {
      words = describe(error);
    } catch {
      // It keeps its secret.
    }
    throw words;
  }
}
