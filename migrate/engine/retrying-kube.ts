// SPDX-License-Identifier: Apache-2.0
import type http from "node:http";
import { errorMessage, ShuntError } from "../../lib/errors.ts";
import { KubeClient, type RequestOptions } from "../../lib/kube.ts";
import { ApiError } from "../../lib/kube-errors.ts";
import { sleep } from "../../lib/wait.ts";

export interface RetryOptions {
  /** Milliseconds for which one request is tried again while the API server is away. */
  deadlineMs: number;
  signal: AbortSignal;
  /** Told once a request has to be tried again, and that it went through at last. */
  onTrouble?: (problem: string) => void;
}

/** A client that outlasts an API server that is away: requests are tried again until their deadline. */
export class RetryingKube extends KubeClient {
  readonly #inner: KubeClient;
  readonly #options: RetryOptions;

  constructor(inner: KubeClient, options: RetryOptions) {
    super(inner.config);
    this.#inner = inner;
    this.#options = options;
  }

  /** The same with other options, over the same connections. */
  with(options: Partial<RetryOptions>): RetryingKube {
    return new RetryingKube(this.#inner, { ...this.#options, ...options });
  }

  override async open(
    method: string,
    path: string,
    options: RequestOptions = {},
  ): Promise<http.IncomingMessage> {
    const signal =
      options.signal === undefined
        ? this.#options.signal
        : AbortSignal.any([options.signal, this.#options.signal]);
    return await this.#inner.open(method, path, { ...options, signal });
  }

  override async request<T = any>(method: string, path: string, options: RequestOptions = {}): Promise<T> {
    const deadline = Date.now() + this.#options.deadlineMs;
    for (let attempt = 0; ; attempt++) {
      try {
        return await super.request<T>(method, path, { timeoutMs: 15_000, ...options });
      } catch (error) {
        if (this.#options.signal.aborted || options.signal?.aborted === true) throw error;
        if (!isPassing(error, path) || Date.now() >= deadline) throw error;
        if (attempt === 0) this.#options.onTrouble?.(errorMessage(error));
        const asked = error instanceof ApiError ? (error.retryAfterSeconds ?? 0) * 1000 : 0;
        const backoff = Math.min(5_000, 200 * 2 ** Math.min(attempt, 6)) * (0.75 + Math.random() / 2);
        await sleep(Math.min(Math.max(asked, backoff), 30_000), this.#options.signal);
      }
    }
  }
}

/** Whether the failure is of the server or the way to it, and may pass; a refusal is not. */
export function isPassing(error: unknown, path = ""): boolean {
  if (error instanceof ApiError) {
    if (error.status === 429) return !path.endsWith("/eviction");
    // A store that is full stays so until somebody makes room.
    if (/space exceeded/i.test(error.message)) return false;
    if (error.status === 500)
      return /etcdserver|leader changed|context deadline|timed? ?out/i.test(error.message);
    return error.status === 502 || error.status === 503 || error.status === 504;
  }
  if (error instanceof ShuntError) return error.code === "Unreachable" || error.code === "Timeout";
  // The stream broke off in the middle of an answer.
  const code = (error as { code?: unknown } | undefined)?.code;
  return code === "ECONNRESET" || code === "ERR_STREAM_PREMATURE_CLOSE";
}
