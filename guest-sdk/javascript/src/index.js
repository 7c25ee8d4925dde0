// Write transforms and aggregates for Millrace in JavaScript or TypeScript. The README has the way in, `index.d.ts` the
// types.

export { aggregate } from "./aggregate.js";
export { Column, Text, mapped } from "./column.js";
export { Reject, reject } from "./errors.js";
export { log } from "./log.js";
export { option, parseSpan } from "./options.js";
export { transform } from "./transform.js";
export { EARLIEST, t } from "./types.js";
