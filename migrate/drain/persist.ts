// SPDX-License-Identifier: Apache-2.0
import { errorMessage, ShuntError } from "../../lib/errors.ts";
import { ApiError } from "../../lib/kube-errors.ts";
import { sleep } from "../../lib/wait.ts";

/** Until when something is tried. */
export interface Deadline {
  readonly atMs: number;
  readonly signal: AbortSignal | undefined;
}

/** The deadline that many milliseconds from now. */
export function deadlineIn(timeoutMs: number, signal?: AbortSignal): Deadline {
  return { atMs: Date.now() + timeoutMs, signal };
}

/** Milliseconds left; never below zero. */
export function leftMs(deadline: Deadline): number {
  return Math.max(0, deadline.atMs - Date.now());
}

/** How long one request may take: as usual, but not past the deadline. */
export function requestTimeoutMs(deadline: Deadline): number {
  return Math.min(30_000, Math.max(1_000, leftMs(deadline)));
}

/** Whether the same request may succeed later: the server was away, overloaded or failed inside. */
export function mayPass(error: unknown): boolean {
  if (error instanceof ApiError) return error.status >= 500 || error.status === 429;
  if (error instanceof ShuntError) return error.code === "Unreachable" || error.code === "Timeout";
  return error instanceof Error && "code" in error;
}

/**
 * Tries until it succeeds, as long as the failure may pass and the deadline has not. Then throws what failed last.
 * @param onRetry hears of every failure that is tried again
 */
export async function persist<T>(
  deadline: Deadline,
  operation: () => Promise<T>,
  onRetry: (why: string) => void = () => undefined,
): Promise<T> {
  for (let pauseMs = 250; ; pauseMs = Math.min(pauseMs * 2, 5_000)) {
    deadline.signal?.throwIfAborted();
    try {
      return await operation();
    } catch (error) {
      deadline.signal?.throwIfAborted();
      if (!mayPass(error) || leftMs(deadline) === 0) throw error;
      onRetry(errorMessage(error));
      const askedMs = error instanceof ApiError ? (error.retryAfterSeconds ?? 0) * 1_000 : 0;
      await sleep(Math.min(Math.max(pauseMs, askedMs), leftMs(deadline)), deadline.signal);
    }
  }
}
