/** Stands for the host's log: keeps what is written. */

import type { Level } from "wasi:logging/logging@0.1.0-draft";

export const written: { level: Level; message: string }[] = [];

export function log(level: Level, _context: string, message: string): void {
  written.push({ level, message });
}
