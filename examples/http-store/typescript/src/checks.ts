/** What JSON must be like: each check gives the value, typed, or refuses it by its name. What is not asked for is dropped. */

import { Refused } from "./protocol.js";

export type Check<T> = (value: unknown, name: string) => T;
export type Checked<C> = C extends Check<infer T> ? T : never;

function check<T>(what: string, is: (value: unknown) => boolean): Check<T> {
    return (value, name) => {
        if (!is(value)) throw new Refused("invalid", `${name} is not ${what}`);
        return value as T;
    };
}

export const text: Check<string> = check("text", (value) => typeof value === "string");

export const matching = (pattern: RegExp): Check<string> =>
    check(`text like ${pattern}`, (value) => typeof value === "string" && pattern.test(value));

export const number = (least = 0, most = Number.MAX_SAFE_INTEGER): Check<number> =>
    check(
        `an integer from ${least} to ${most}`,
        (value) => Number.isSafeInteger(value) && least <= (value as number) && (value as number) <= most,
    );

/** Absent and `null` are the same. */
export const optional =
    <T>(inner: Check<T>): Check<T | undefined> =>
    (value, name) =>
        value == null ? undefined : inner(value, name);

export const list =
    <T>(inner: Check<T>, most: number): Check<T[]> =>
    (value, name) => {
        const values = check<unknown[]>(`a list of at most ${most}`, (value) => Array.isArray(value) && value.length <= most)(value, name);
        return values.map((value, index) => inner(value, `${name}[${index}]`));
    };

export const object =
    <T extends object>(fields: { [K in keyof T]: Check<T[K]> }): Check<T> =>
    (value, name) => {
        const found = check<Record<string, unknown>>("an object", (value) => typeof value === "object" && value !== null)(value, name);
        const entries = Object.entries<Check<unknown>>(fields).map(([key, inner]) => [key, inner(found[key], `${name}.${key}`)]);
        return Object.fromEntries(entries) as T;
    };
