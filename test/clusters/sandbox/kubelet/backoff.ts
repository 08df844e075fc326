// SPDX-License-Identifier: Apache-2.0

interface Entry {
  delayMs: number;
  updatedMs: number;
}

/** Delays that double with every failure of a key and are forgotten after twice the longest one. */
export class Backoff {
  readonly #entries = new Map<string, Entry>();
  readonly #firstMs: number;
  readonly #maxMs: number;

  constructor(firstMs: number, maxMs: number) {
    this.#firstMs = firstMs;
    this.#maxMs = maxMs;
  }

  /** Milliseconds still to wait at `nowMs` after a failure at `failedMs`; 0 when the next try may go. */
  remainingMs(key: string, failedMs: number, nowMs: number): number {
    const entry = this.#entries.get(key);
    if (entry === undefined || nowMs - entry.updatedMs > 2 * this.#maxMs) return 0;
    return Math.max(0, failedMs + entry.delayMs - nowMs);
  }

  /** The delay in force now. */
  delayMs(key: string): number {
    return this.#entries.get(key)?.delayMs ?? 0;
  }

  /** Notes another try at `nowMs`, which makes the delay before the one after it longer. */
  next(key: string, nowMs: number): void {
    const entry = this.#entries.get(key);
    const fresh = entry === undefined || nowMs - entry.updatedMs > 2 * this.#maxMs;
    const delayMs = fresh ? this.#firstMs : Math.min(entry.delayMs * 2, this.#maxMs);
    this.#entries.set(key, { delayMs, updatedMs: nowMs });
  }

  forget(key: string): void {
    this.#entries.delete(key);
  }
}
