// SPDX-License-Identifier: Apache-2.0
import { errorMessage } from "../../lib/errors.ts";
import { withDeadline } from "../../lib/wait.ts";

/** What undoes one thing; its signal is not the run's, so that Ctrl-C does not keep it from finishing. */
export type Finalizer = (signal: AbortSignal) => Promise<void>;

/** Undo steps, registered when the thing was done and run in reverse order, whatever ended the run. */
export class Finalizers {
  readonly #entries: { name: string; run: Finalizer }[] = [];
  readonly #timeoutMs: number;

  constructor(timeoutMs = 60_000) {
    this.#timeoutMs = timeoutMs;
  }

  add(name: string, run: Finalizer): void {
    this.#entries.push({ name, run });
  }

  /** Runs all of them, each with its own deadline, and returns what failed. Later calls do nothing. */
  async runAll(): Promise<string[]> {
    const failures: string[] = [];
    for (let entry = this.#entries.pop(); entry !== undefined; entry = this.#entries.pop()) {
      const abort = new AbortController();
      try {
        await withDeadline(entry.name, entry.run(abort.signal), this.#timeoutMs);
      } catch (error) {
        failures.push(`${entry.name}: ${errorMessage(error)}`);
      } finally {
        abort.abort();
      }
    }
    return failures;
  }
}
