// SPDX-License-Identifier: Apache-2.0

/** A time-out that can stand still: what is left of it runs on afterwards. */
export class RunClock {
  readonly #onTimeout: () => void;
  #leftMs: number;
  #startedAtMs = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(timeoutMs: number, onTimeout: () => void) {
    this.#leftMs = timeoutMs;
    this.#onTimeout = onTimeout;
    this.resume();
  }

  pause(): void {
    if (this.#timer === undefined) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#leftMs -= Date.now() - this.#startedAtMs;
  }

  resume(): void {
    if (this.#timer !== undefined) return;
    this.#startedAtMs = Date.now();
    this.#timer = setTimeout(this.#onTimeout, Math.max(0, this.#leftMs));
  }
}
