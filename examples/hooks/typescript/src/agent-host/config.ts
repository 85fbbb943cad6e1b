/** What the operator gave the hook. */

import { invalid, quote } from "./error.js";

export class Config {
  readonly #entries: ReadonlyMap<string, string>;

  constructor(entries: Iterable<readonly [string, string]>) {
    this.#entries = new Map(entries);
  }

  /** Refuses keys that are not among `known`, so that a typing error is not silently ignored. */
  only(...known: readonly string[]): void {
    for (const key of this.#entries.keys()) {
      if (!known.includes(key)) {
        const there = known.length === 0 ? "there are none" : `known are: ${known.join(", ")}`;
        throw invalid(`unknown configuration key ${quote(key)}; ${there}`);
      }
    }
  }

  /** A key's value; `undefined` if it is absent. */
  get(key: string): string | undefined {
    return this.#entries.get(key);
  }

  /** A key's value, which must be there. */
  require(key: string): string {
    const value = this.get(key);
    if (value === undefined) {
      throw invalid(`the configuration key ${quote(key)} is missing`);
    }
    return value;
  }
}
