// SPDX-License-Identifier: Apache-2.0
import http from "node:http";

/** What a visitor saw. */
export interface VisitResults {
  sent: number;
  lost: number;
  /** The first of the lost ones. */
  losses: { time: string; url: string; error: string }[];
  longestMs: number;
  /** True once it sends no more and everything sent has been answered or lost. */
  final: boolean;
}

const timeoutMs = 15_000;
const maxLosses = 200;

/** Requests at a constant rate, each on a connection of its own, whether or not earlier ones were answered. */
export class Visits {
  readonly #urls: readonly string[];
  readonly #periodMs: number;
  readonly #timer: NodeJS.Timeout;
  readonly #losses: VisitResults["losses"] = [];
  #dueAtMs = performance.now();
  #sent = 0;
  #lost = 0;
  #open = 0;
  #longestMs = 0;
  #stopped = false;

  /** @param rate requests a second to all URLs together */
  constructor(urls: readonly string[], rate: number) {
    this.#urls = urls;
    this.#periodMs = 1_000 / rate;
    this.#timer = setInterval(() => this.#tick(), 5);
  }

  stop(): void {
    this.#stopped = true;
    clearInterval(this.#timer);
  }

  results(): VisitResults {
    return {
      ...{ sent: this.#sent, lost: this.#lost, losses: this.#losses },
      longestMs: Math.round(this.#longestMs),
      final: this.#stopped && this.#open === 0,
    };
  }

  #tick(): void {
    const now = performance.now();
    // After a stall of this process the backlog is not sent in one burst.
    this.#dueAtMs = Math.max(this.#dueAtMs, now - 5 * this.#periodMs);
    while (this.#dueAtMs <= now && this.#urls.length > 0) {
      this.#dueAtMs += this.#periodMs;
      this.#visit(this.#urls[this.#sent % this.#urls.length]!);
    }
  }

  #visit(url: string): void {
    const startMs = performance.now();
    const time = new Date().toISOString();
    let isOver = false;
    const end = (error?: string): void => {
      if (isOver) return;
      isOver = true;
      this.#open--;
      this.#longestMs = Math.max(this.#longestMs, performance.now() - startMs);
      if (error === undefined) return;
      this.#lost++;
      if (this.#losses.length < maxLosses) this.#losses.push({ time, url, error });
    };
    this.#sent++;
    this.#open++;
    const request = http.get(url, { agent: false, timeout: timeoutMs }, (response) => {
      let body = "";
      response.setEncoding("utf8");
      response.on("data", (chunk: string) => (body += chunk.slice(0, 200)));
      response.on("error", (error) => end(String(error)));
      response.on("end", () =>
        end(response.statusCode === 200 ? undefined : `${response.statusCode}: ${body.trim().slice(0, 200)}`),
      );
    });
    request.on("timeout", () => request.destroy(new Error(`no answer within ${timeoutMs / 1000} s`)));
    request.on("error", (error: NodeJS.ErrnoException) => end(error.code ?? error.message));
  }
}
