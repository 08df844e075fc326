// SPDX-License-Identifier: Apache-2.0
import { setTimeout as delay } from "node:timers/promises";
import { errorMessage, ShuntError } from "./errors.ts";

export interface WaitOptions {
  timeoutMs: number;
  /** Milliseconds between two checks. Default 200. */
  intervalMs?: number;
  signal?: AbortSignal;
  /** What to tell the user when the deadline passes. */
  remedy?: string;
}

/** Sleeps, and throws at once when the signal aborts. */
export async function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  await delay(ms, undefined, signal === undefined ? {} : { signal });
}

/**
 * Calls `check` until it returns something other than undefined or false, and returns that. An exception of
 * `check` counts as "not yet" and is named when the deadline passes.
 * @param what completes the sentence "Timed out waiting for …"
 */
export async function waitFor<T>(
  what: string,
  check: () => Promise<T | undefined | false> | T | undefined | false,
  options: WaitOptions,
): Promise<T> {
  const deadline = Date.now() + options.timeoutMs;
  let last: unknown;
  for (;;) {
    options.signal?.throwIfAborted();
    try {
      const value = await check();
      if (value !== undefined && value !== false) return value;
      last = undefined;
    } catch (error) {
      last = error;
    }
    if (Date.now() >= deadline) {
      const state = last === undefined ? "" : `: ${errorMessage(last)}`;
      throw new ShuntError(`Timed out after ${options.timeoutMs / 1000} s waiting for ${what}${state}`, {
        code: "Timeout",
        cause: last,
        ...(options.remedy === undefined ? {} : { remedy: options.remedy }),
      });
    }
    await sleep(Math.min(options.intervalMs ?? 200, Math.max(1, deadline - Date.now())), options.signal);
  }
}

/** Rejects with a time-out error when `promise` has not settled in time. The work itself is not cancelled. */
export async function withDeadline<T>(what: string, promise: Promise<T>, timeoutMs: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new ShuntError(`Timed out after ${timeoutMs / 1000} s: ${what}`, { code: "Timeout" })),
      timeoutMs,
    );
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
