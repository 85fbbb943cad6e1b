/** What an adapter is to this library. */

import type { AdapterInfo, Files, Leases, Profiles, Sessions, Streams } from "./contract.js";

/**
 * Keeps sessions, streams, files and profiles: the world of `wit/world.wit`, an object for each of its interfaces.
 *
 * Before a function is called it has been checked that all numbers are whole and below 2^53, that no more is asked for
 * at once than the contract allows, and that the id of a session that is created is valid. An instance gets one call at
 * a time. Whatever a function throws reaches the host as an error of the contract.
 */
export interface Adapter {
  readonly info: AdapterInfo;
  /** Whether the store answers. Called often. */
  health(): void;
  readonly sessions: Sessions;
  readonly streams: Streams;
  readonly files: Files;
  readonly profiles: Profiles;
  /** Only where the world exports `leases`. */
  readonly leases?: Leases;
}
