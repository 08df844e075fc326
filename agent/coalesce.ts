// SPDX-License-Identifier: Apache-2.0
import { errorMessage } from "../lib/errors.ts";
import type { Logger } from "../lib/log.ts";

/**
 * Runs `work` some milliseconds after it was asked for, once for all who ask meanwhile; never twice at the same
 * time. A failure is logged, reported and tried again with growing pauses.
 */
export class Coalesced {
  readonly name: string;
  readonly #work: () => Promise<void> | void;
  readonly #log: Logger;
  readonly #delayMs: number;
  readonly #onError: (name: string, error: unknown) => void;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #wanted = false;
  #stopped = false;
  #failures = 0;

  constructor(
    name: string,
    work: () => Promise<void> | void,
    options: { log: Logger; delayMs?: number; onError?: (name: string, error: unknown) => void },
  ) {
    this.name = name;
    this.#work = work;
    this.#log = options.log;
    this.#delayMs = options.delayMs ?? 20;
    this.#onError = options.onError ?? (() => undefined);
  }

  /** Asks for a run. */
  trigger(): void {
    this.#wanted = true;
    this.#schedule(this.#failures === 0 ? this.#delayMs : Math.min(30_000, 200 * 2 ** this.#failures));
  }

  /** No more runs; waits for the one under way. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#running;
  }

  #schedule(ms: number): void {
    if (this.#stopped || this.#timer !== undefined || this.#running !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#running = this.#run().finally(() => {
        this.#running = undefined;
        if (this.#wanted) this.trigger();
      });
    }, ms);
  }

  async #run(): Promise<void> {
    this.#wanted = false;
    try {
      await this.#work();
      this.#failures = 0;
    } catch (error) {
      this.#failures++;
      this.#wanted = true;
      this.#log.error(`${this.name} failed`, { error: errorMessage(error), attempt: this.#failures });
      this.#onError(this.name, error);
    }
  }
}
