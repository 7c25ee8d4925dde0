import type { Aggregate, Transform } from "./index.d.ts";

/** What a test may set. */
export interface Given {
  /** The options, as a project file has them: `{ "half-life": "5m" }`. */
  options?: Record<string, unknown>;
  /** Other types of columns than those wanted: `{ amount: "float32?" }`; null for no column of the name. */
  columns?: Record<string, string | null>;
}

/** What became of a test's rows. */
export interface Transformed {
  rows: Record<string, any>[];
  /** The input row of each of them. */
  origin: number[];
  /** The input rows that were refused, and why. */
  rejected: [number, string][];
}

/** Runs a transform over rows, through bind and columns as in a component. It gives the same for rows together and alone. */
export declare function run(transform: Transform, rows: Record<string, unknown>[], given?: Given): Transformed;

/** The state of one key, after some rows. */
export declare class Folded {
  /** The rows that were refused, and why. */
  readonly rejected: [number, string][];
  /** Folds in the state of a later stretch of time. */
  merge(later: Folded): Folded;
  /** The feature: its value, or an object if it has several. */
  evaluate(since?: bigint, until?: bigint): any;
}

/** Folds rows of one key, in their order. The state is the same wherever they are cut. */
export declare function fold(aggregate: Aggregate, rows: Record<string, unknown>[], given?: Given): Folded;
