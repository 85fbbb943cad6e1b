/** The contract's numbers. */

/** Whether a number is whole, not negative and below 2^53: what both a `u64` and a number of JavaScript can hold. */
export const isNumber = (number: number): boolean => Number.isSafeInteger(number) && number >= 0;
