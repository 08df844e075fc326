// SPDX-License-Identifier: Apache-2.0
import { errorMessage } from "../../../../lib/errors.ts";
import { ApiError, isConflict } from "../../../../lib/kube-errors.ts";
import type { Logger } from "../../../../lib/log.ts";

/** Handles one key; a number it returns is after how many milliseconds to look again. */
export type Reconcile = (key: string) => Promise<number | undefined>;

const firstRetryMs = 20;
const lastRetryMs = 30_000;

/**
 * Keys waiting to be reconciled. A key is handled by one worker at a time, is kept once however often it is
 * added, and is tried again with growing delay when handling it failed.
 */
export class WorkQueue {
  readonly #reconcile: Reconcile;
  readonly #log: Logger;
  readonly #workers: number;
  readonly #waiting = new Set<string>();
  readonly #active = new Set<string>();
  readonly #failures = new Map<string, number>();
  readonly #timers = new Map<string, { timer: NodeJS.Timeout; atMs: number }>();
  #running = false;

  constructor(reconcile: Reconcile, log: Logger, workers = 4) {
    this.#reconcile = reconcile;
    this.#log = log;
    this.#workers = workers;
  }

  /** Starts handling; keys added before wait until now. */
  start(signal: AbortSignal): void {
    this.#running = true;
    signal.addEventListener("abort", () => this.#stop(), { once: true });
    if (signal.aborted) this.#stop();
    this.#pump();
  }

  add(key: string): void {
    this.#waiting.add(key);
    this.#pump();
  }

  /** Adds the key after a delay; of several delays for a key the earliest counts. */
  addAfter(key: string, delayMs: number): void {
    const atMs = Date.now() + delayMs;
    const pending = this.#timers.get(key);
    if (pending !== undefined && pending.atMs <= atMs) return;
    clearTimeout(pending?.timer);
    const timer = setTimeout(
      () => {
        this.#timers.delete(key);
        this.add(key);
      },
      Math.min(delayMs, 0x7fffffff),
    );
    timer.unref();
    this.#timers.set(key, { timer, atMs });
  }

  /** How many keys wait or are being handled now. */
  get pending(): number {
    return this.#waiting.size + this.#active.size;
  }

  #stop(): void {
    this.#running = false;
    for (const { timer } of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
  }

  #pump(): void {
    if (!this.#running) return;
    for (const key of this.#waiting) {
      if (this.#active.size >= this.#workers) return;
      if (this.#active.has(key)) continue;
      this.#waiting.delete(key);
      this.#active.add(key);
      void this.#handle(key);
    }
  }

  async #handle(key: string): Promise<void> {
    try {
      const againMs = await this.#reconcile(key);
      this.#failures.delete(key);
      if (againMs !== undefined) this.addAfter(key, againMs);
    } catch (error) {
      this.#retry(key, error);
    } finally {
      this.#active.delete(key);
      this.#pump();
    }
  }

  #retry(key: string, error: unknown): void {
    if (!this.#running) return;
    const failures = (this.#failures.get(key) ?? 0) + 1;
    this.#failures.set(key, failures);
    const retryMs = Math.min(firstRetryMs * 2 ** (failures - 1), lastRetryMs);
    const expected = isConflict(error) || (error instanceof ApiError && error.status === 404);
    if (!expected || failures > 5)
      this.#log.warn("reconciling failed", { key, error: errorMessage(error), retryMs });
    this.addAfter(key, retryMs);
  }
}
