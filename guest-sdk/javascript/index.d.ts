// Write transforms and aggregates for Millrace in JavaScript or TypeScript: the types. The README has the way in.

/** A column's type. `V` is what its values are in JavaScript. */
export interface Type<V> {
  /** Its name in a project file. */
  readonly name: string;
  /** The contract's format string. */
  readonly format: string;
  readonly isNullable: boolean;
  /** The same type with nulls. A column without them fits too. */
  readonly nullable: Type<V | null>;
  /** What keeps `V` in this type, for the compiler alone. */
  readonly __value?: V;
}

/** A column that is packed: only a state's fields are. */
export interface Packed<V> extends Type<V> {
  readonly packed: "map" | "set" | "plain";
}

/** Columns by name. */
export type Schema = Readonly<Record<string, Type<any>>>;

/** The values of a type. */
export type Value<T> = T extends Type<infer V> ? V : never;

/** A row of columns. */
export type Row<S extends Schema> = { -readonly [Name in keyof S]: Value<S[Name]> };

/** The types of columns. */
export declare const t: {
  readonly boolean: Type<boolean>;
  /** A number: whole, of 32 bits. */
  readonly int32: Type<number>;
  /** A bigint. A column of int32 fits too. */
  readonly int64: Type<bigint>;
  readonly float32: Type<number>;
  /** A number. A column of float32 fits too. */
  readonly float64: Type<number>;
  /** A bigint: microseconds since 1970 in UTC. */
  readonly timestamp: Type<bigint>;
  readonly utf8: Type<string>;
  readonly binary: Type<Uint8Array>;
  /** A list, whose items may be null if their type is `.nullable`. */
  list<V>(item: Type<V>): Type<V[]>;
  /** A Map, packed into one column of bytes. Only a state's. */
  map<K extends string | number | bigint | boolean, V>(): Packed<Map<K, V>>;
  /** A Set, packed into one column of bytes. Only a state's. */
  set<V extends string | number | bigint | boolean>(): Packed<Set<V>>;
  /** Plain objects, arrays and values, packed into one column of bytes. Only a state's. */
  packed<V>(): Packed<V>;
};

/** Before all other moments: the time of nothing yet. */
export declare const EARLIEST: bigint;

/** An option that a project may give. */
export interface Option<V> {
  /** The same, refused where `check` gives a reason. */
  check(check: (value: V) => string | null | undefined): Option<V>;
  readonly __value?: V;
}

/** Options by name: `halfLife` here is `half-life` in a project file. */
export type OptionSchema = Readonly<Record<string, Option<any>>>;

/** The options as a function gets them. */
export type Options<O extends OptionSchema> = { readonly [Name in keyof O]: O[Name] extends Option<infer V> ? V : never };

/** What options may be. The argument is the default; without one the project has to give the option. */
export declare const option: {
  boolean(fallback?: boolean): Option<boolean>;
  number(fallback?: number): Option<number>;
  /** A whole number, as a number. */
  integer(fallback?: number): Option<number>;
  string(fallback?: string): Option<string>;
  /** A duration such as "5m", in microseconds. */
  span(fallback?: string | bigint): Option<bigint>;
  strings(fallback?: string[]): Option<string[]>;
  numbers(fallback?: number[]): Option<number[]>;
  /** Whatever JSON there is. */
  json<V = unknown>(fallback?: V): Option<V>;
};

/** Reads `5m`, `1h 30m`, `250ms`, as microseconds; null if it is no duration. */
export declare function parseSpan(text: string): bigint | null;

/** A refusal. */
export declare class Reject {
  constructor(reason?: string);
  readonly reason: string;
}

/** Refuses the row at hand, returned or thrown: the host keeps it as a dead letter with this reason. */
export declare function reject(reason: string): Reject;

/** One column of a batch, as it lies. Nothing is read before it is asked for. */
export declare class Column<V> implements Iterable<V> {
  readonly length: number;
  /** The values one by one, null for nulls. */
  toArray(): V[];
  [Symbol.iterator](): Iterator<V>;
  isValid(row: number): boolean;
  /** Which rows are present; null where all are. */
  readonly valid: boolean[] | null;
  /** The numbers, as they lie: under a null, anything. */
  readonly values: NonNullable<V> extends bigint ? BigInt64Array : NonNullable<V> extends number ? Float64Array : never;
  /** The booleans. */
  readonly flags: boolean[];
  /** The booleans turned around. */
  not(): Column<V>;
  /** Where each value begins, in bytes or in items; one more than there are rows. */
  readonly offsets: Int32Array;
  /** The bytes of all values, one after the other. */
  readonly data: Uint8Array;
  /** The text of all values, one after the other. `offsets` cut its bytes: the text itself only in ASCII. */
  readonly text: string;
  /** The items of all lists, one after the other. */
  readonly items: NonNullable<V> extends (infer I)[] ? Column<I> : never;
  /** The text with a change that works letter by letter: on all of it at once where it is ASCII, else value by value. */
  mapText(change: (text: string) => string): Column<V>;
  toLowerCase(): Column<V>;
  toUpperCase(): Column<V>;
}

/** A column of text as it lies: all of it, and where each value begins in its bytes. */
export declare class Text {
  constructor(text: string | Uint8Array, offsets: ArrayLike<number> & Iterable<number>, valid?: boolean[] | null);
}

/** The columns that a transform of whole columns is given. */
export type Columns<S extends Schema> = { readonly [Name in keyof S]: Column<Value<S[Name]>> };

/** A column that such a transform gives back. */
export type ColumnOut<V> =
  | Column<V>
  | Iterable<V>
  | (NonNullable<V> extends string ? Text : never)
  | (NonNullable<V> extends number ? Float64Array | Float32Array | Int32Array : never)
  | (NonNullable<V> extends bigint ? BigInt64Array : never);

/** The columns that such a transform gives back. */
export type ColumnsOut<S extends Schema> = { readonly [Name in keyof S]: ColumnOut<Value<S[Name]>> };

/** Columns with more to say than one row for each input row. */
export interface Mapped<S extends Schema> {
  readonly columns: ColumnsOut<S>;
}

/** Which rows came from where, and which are refused. */
export interface Origins {
  /** The input row of each output row, never decreasing; rows neither here nor refused are filtered out. */
  origin?: ArrayLike<number> & Iterable<number>;
  rejected?: readonly { row: number; reason: string }[];
}

/** Columns with more to say than one row for each input row. */
export declare function mapped<C extends Record<string, unknown>>(columns: C, more: Origins): { readonly columns: C };

/** What becomes of a row: a row, several, none (null), or a refusal. */
export type Emitted<S extends Schema> = Row<S> | Iterable<Row<S>> | Reject | null | undefined;

/** A transform, to be exported from the author's module: its name is the export's in snake case, or `name`. */
export interface Transform {
  readonly kind: "transform";
}

/** A transform row by row. */
export interface RowTransform<I extends Schema, O extends Schema, P extends OptionSchema> {
  name?: string;
  input: I;
  output: O;
  options?: P;
  row(row: Row<I>, options: Options<P>): Emitted<O>;
}

/** A transform of whole columns. */
export interface ColumnTransform<I extends Schema, O extends Schema, P extends OptionSchema> {
  name?: string;
  input: I;
  output: O;
  options?: P;
  columns(columns: Columns<I>, options: Options<P>): ColumnsOut<O> | Mapped<O>;
}

/** Makes a transform. */
export declare function transform<I extends Schema, O extends Schema, P extends OptionSchema = {}>(
  description: RowTransform<I, O, P>,
): Transform;
export declare function transform<I extends Schema, O extends Schema, P extends OptionSchema = {}>(
  description: ColumnTransform<I, O, P>,
): Transform;

/** The stretch of time that a feature is asked for: [since, until), in microseconds since 1970. For `over` both are the
 * row's time; at request time `until` is the request's. */
export interface Window {
  readonly since: bigint;
  readonly until: bigint;
}

/** An aggregate, to be exported from the author's module: its name is the export's in snake case, or `name`. */
export interface Aggregate {
  readonly kind: "aggregate";
}

/** An aggregate: a state for each key, as columns that are the host's. */
export interface AggregateOf<I extends Schema, S extends Schema, O extends Type<any> | Schema, P extends OptionSchema> {
  name?: string;
  input: I;
  state: S;
  /** One type is the feature itself; a record of them become `feature_field`. */
  output: O;
  options?: P;
  /** Rows come sorted by event time, once the watermark has passed them. */
  ordered?: boolean;
  /** The state that holds nothing yet; without it all is 0, empty, null. */
  initial?(options: Options<P>): Row<S>;
  /** Folds one row in: changes the state in place, or returns another. A refused row leaves it as it was. */
  update(state: Row<S>, row: Row<I>, options: Options<P>): Row<S> | Reject | void;
  /** Folds in the state of a later stretch of time: changes the state in place, or returns another. */
  merge(state: Row<S>, later: Row<S>, options: Options<P>): Row<S> | void;
  /** The feature's value for a window. */
  evaluate(state: Row<S>, window: Window, options: Options<P>): O extends Type<infer V> ? V : O extends Schema ? Row<O> : never;
}

/** Makes an aggregate. */
export declare function aggregate<
  I extends Schema,
  S extends Schema,
  O extends Type<any> | Schema,
  P extends OptionSchema = {},
>(description: AggregateOf<I, S, O, P>): Aggregate;

/** Lines for the host's log, which limits their rate. */
export declare const log: {
  debug(message: unknown): void;
  info(message: unknown): void;
  warn(message: unknown): void;
  error(message: unknown): void;
};
