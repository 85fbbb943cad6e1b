/** JSON, which the contract has as text. */

/**
 * Whatever `JSON.parse` gives. It is `any`, since a type that knows more would be in everybody's way: a hook that wants
 * its data checked checks it.
 */
export type Json = any;

export const fromJson = (text: string): Json => JSON.parse(text);

/** JSON as text. What JSON cannot have (`undefined`, a function) is an error here, and not in the host. */
export function toJson(value: Json): string {
  const text = JSON.stringify(value) as string | undefined;
  if (text === undefined) {
    throw new TypeError(`${typeof value} is no JSON`);
  }
  return text;
}
