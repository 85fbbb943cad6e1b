/**
 * The contract's types, as QuickJS holds their values.
 *
 * `npm run types` generates types from the WIT for engines in which 64-bit numbers are `bigint`s and what is absent is
 * `undefined`. In QuickJS they are numbers, which hold everything below 2^53, as the contract promises; and what is
 * absent comes as null.
 */

import type * as host from "agent-host:sql/sql@0.1.0";
import type * as types from "agent-host:types/types@0.1.0";

/** A generated type, as QuickJS holds it. */
export type Held<T> = T extends bigint
  ? number
  : T extends BigUint64Array
    ? number[]
    : T extends Uint8Array
      ? T
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
export interface SessionRecord extends Held<types.SessionRecord> {}
export interface Snapshot extends Held<types.Snapshot> {}
export interface StreamInfo extends Held<types.StreamInfo> {}
export interface FileInfo extends Held<types.FileInfo> {}

export type Lifecycle = Held<typeof import("agent-host:persistence/lifecycle@0.1.0")>;
export type Sessions = Held<typeof import("agent-host:persistence/sessions@0.1.0")>;
export type Streams = Held<typeof import("agent-host:persistence/streams@0.1.0")>;
export type Files = Held<typeof import("agent-host:persistence/files@0.1.0")>;
export type Profiles = Held<typeof import("agent-host:persistence/profiles@0.1.0")>;
export type Leases = Held<typeof import("agent-host:persistence/leases@0.1.0")>;
export type AdapterInfo = ReturnType<Lifecycle["open"]>;

export type Dialect = host.Dialect;
export type Value = Held<host.Value>;
export type Statement = Held<host.Statement>;
export type DatabaseError = Held<host.Error>;
export type HostConnection = Held<host.Connection>;
export type HostTransaction = Held<host.Transaction>;
export type HostRows = Held<host.Rows>;
