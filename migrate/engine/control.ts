// SPDX-License-Identifier: Apache-2.0
import { errorMessage, ShuntError } from "../../lib/errors.ts";
import { sleep } from "../../lib/wait.ts";

/** The run stops here because of a pause; nothing went wrong with the step that it stops before. */
export class Paused extends ShuntError {
  constructor(reason: string) {
    super(reason, { code: "Paused" });
    this.name = "Paused";
  }
}

/** Says when a run has to stop, and why: at the next step boundary, or in the middle of a step when that takes long. */
export class Control {
  readonly #hard = new AbortController();
  readonly #graceMs: number;
  readonly #watches: Promise<void>[] = [];
  readonly #end = new AbortController();
  #reason: string | undefined;
  #timer: NodeJS.Timeout | undefined;
  #lost: ShuntError | undefined;

  /** @param graceMs how long steps under way may go on after a pause */
  constructor(graceMs: number) {
    this.#graceMs = graceMs;
  }

  /** Aborts steps under way. */
  get signal(): AbortSignal {
    return this.#hard.signal;
  }

  /** Why the run pauses; undefined while it goes on. */
  get reason(): string | undefined {
    return this.#reason;
  }

  /** The second operator that took over, if one did: nothing may be written any more. */
  get lost(): ShuntError | undefined {
    return this.#lost;
  }

  /** Stops the run at the next boundary. The first reason counts. */
  pause(reason: string): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    this.#timer = setTimeout(() => this.#hard.abort(new Paused(reason)), this.#graceMs);
  }

  /** Stops everything at once: somebody else has the lease. */
  lose(error: ShuntError): void {
    this.#lost = error;
    this.#reason = error.message;
    this.#hard.abort(error);
  }

  /** Throws when the run has to stop. */
  gate(): void {
    if (this.#lost !== undefined) throw this.#lost;
    if (this.#reason !== undefined) throw new Paused(this.#reason);
  }

  /** Asks again and again for a reason to pause, until `close`. A question that fails is asked again. */
  watch(everyMs: number, ask: () => Promise<string | undefined>, onTrouble: (problem: string) => void): void {
    const loop = async (): Promise<void> => {
      while (!this.#end.signal.aborted && this.#reason === undefined) {
        const reason = await ask().catch((error: unknown) => void onTrouble(errorMessage(error)));
        if (reason !== undefined) return this.pause(reason);
        await sleep(everyMs, this.#end.signal).catch(() => undefined);
      }
    };
    this.#watches.push(loop());
  }

  async close(): Promise<void> {
    clearTimeout(this.#timer);
    this.#end.abort();
    await Promise.all(this.#watches);
  }
}
