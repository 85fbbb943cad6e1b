/** Values of a database as values of TypeScript: those of parameters, and those of a row's columns. */

import type { Value } from "./contract.js";
import { corrupt, quote } from "./error.js";
import { isNumber } from "./numbers.js";

/** A floating-point number. A plain number is always an integer, since 1.0 and 1 are the same to TypeScript. */
export class Real {
  readonly value: number;

  constructor(value: number) {
    this.value = value;
  }
}

/** What a parameter of a statement can be made from. */
export type Parameter = string | number | Real | Uint8Array | null | undefined;

export function toValue(parameter: Parameter): Value {
  if (parameter == null) {
    return { tag: "null" };
  }
  if (typeof parameter === "string") {
    return { tag: "text", val: parameter };
  }
  if (typeof parameter === "number") {
    if (!Number.isSafeInteger(parameter)) {
      throw new RangeError(
        `the parameter ${parameter} is not a whole number that fits; a fraction is given as new Real(${parameter})`,
      );
    }
    return { tag: "integer", val: parameter };
  }
  if (parameter instanceof Real) {
    return { tag: "real", val: parameter.value };
  }
  return { tag: "blob", val: parameter };
}

/** How a column is read. */
export interface Column<T> {
  /** What it holds, as an error calls it. */
  readonly holds: string;
  /** The value; `undefined` if it is something else. */
  readonly read: (value: Value) => T | undefined;
}

/** How the columns of a row are read, in their order. */
export type Columns = Readonly<Record<string, Column<unknown>>>;

/** What is read by `Columns`. */
export type Read<C extends Columns> = { [Name in keyof C]: C[Name] extends Column<infer T> ? T : never };

/** An integer. One beyond 2^53 would not be what the database has. */
export const integer: Column<number> = {
  holds: "an integer of less than 2^53",
  read: (value) => (value.tag === "integer" && Number.isSafeInteger(value.val) ? value.val : undefined),
};

/** A number of the contract: a length, an epoch, a time. */
export const unsigned: Column<number> = {
  holds: "an integer that is not negative and below 2^53",
  read: (value) => (value.tag === "integer" && isNumber(value.val) ? value.val : undefined),
};

export const real: Column<number> = {
  holds: "a floating-point number",
  read: (value) => (value.tag === "real" ? value.val : undefined),
};

export const text: Column<string> = {
  holds: "text",
  read: (value) => (value.tag === "text" ? value.val : undefined),
};

export const bytes: Column<Uint8Array> = {
  holds: "bytes",
  read: (value) => (value.tag === "blob" ? value.val : undefined),
};

/** A column that may be null. */
export const optional = <T>(column: Column<T>): Column<T | null> => ({
  holds: `${column.holds}, or nothing`,
  read: (value) => (value.tag === "null" ? null : column.read(value)),
});

/** A row, whose columns are taken one after the other. */
export class Row {
  readonly #values: readonly Value[];
  #taken = 0;

  constructor(values: readonly Value[]) {
    this.#values = values;
  }

  /** The next columns. What they hold that is something else is `corrupt`. */
  take<C extends Columns>(columns: C): Read<C> {
    const taken: Record<string, unknown> = {};
    for (const [name, column] of Object.entries(columns)) {
      const value = this.#values[this.#taken++];
      const read = value && column.read(value);
      if (read === undefined) {
        throw corrupt(
          `the column ${quote(name)} holds ${value ? describe(value) : "nothing at all"}, and not ${column.holds}`,
        );
      }
      taken[name] = read;
    }
    return taken as Read<C>;
  }
}

/** What a value is. Text and bytes are not shown: they may be a user's, and long. */
function describe(value: Value): string {
  switch (value.tag) {
    case "null":
      return "null";
    case "integer":
    case "real":
      return `the ${value.tag} ${value.val}`;
    case "text":
      return "text";
    case "blob":
      return "bytes";
  }
}
