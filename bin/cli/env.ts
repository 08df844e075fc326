// SPDX-License-Identifier: Apache-2.0
import type { Readable, Writable } from "node:stream";

/** Everything that a command knows of the world outside, so that the whole program runs inside a test. */
export interface CliEnv {
  stdin: Readable & { isTTY?: boolean };
  stdout: Writable & { isTTY?: boolean; columns?: number };
  stderr: Writable & { isTTY?: boolean };
  /** Environment variables. */
  env: Record<string, string | undefined>;
  /** Aborts when the user interrupts (Ctrl-C, SIGTERM). */
  signal: AbortSignal;
}
