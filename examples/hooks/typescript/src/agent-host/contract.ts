/**
 * The contract's types, as QuickJS holds their values.
 *
 * `npm run types` generates types from the WIT for engines in which 64-bit numbers are `bigint`s and what is absent is
 * `undefined`. In QuickJS they are numbers, which hold everything below 2^53, as the contract promises; and what is
 * absent comes as null.
 */

import type * as control from "agent-host:hooks/session-control@0.1.0";
import type * as types from "agent-host:types/types@0.1.0";

/** A generated type, as QuickJS holds it. */
export type Held<T> = T extends bigint
  ? number
  : T extends undefined
    ? null | undefined
    : T extends (...parameters: infer Given) => infer Result
      ? (...parameters: HeldEach<Given>) => Held<Result>
      : T extends object
        ? HeldEach<T>
        : T;

/** The same for each field, parameter or element. A field that may be absent may be null. */
type HeldEach<T> = { [Key in keyof T]: Held<T[Key]> | (object extends Pick<T, Key> ? null : never) };

export type ContractError = Held<types.Error>;
export type EventHook = Held<typeof import("agent-host:hooks/event-hook@0.1.0")>;
export type SessionControl = Held<typeof control>;
