// SPDX-License-Identifier: Apache-2.0
import http from "node:http";

/** What a visitor saw. */
export interface VisitResults {
  sent: number;
  lost: number;
  /** The first of the lost ones. */
  losses: { time: string; url: string; error: string }[];
  longestMs: number;
  /** False while it still waits for every URL to have answered: nothing is counted until then. */
  counting: boolean;
  /** True once it sends no more and everything sent has been answered or lost. */
  final: boolean;
}

const timeoutMs = 15_000;
const maxLosses = 200;

/** Requests at a constant rate, each on a connection of its own, whether or not earlier ones were answered. */
export class Visits {
  #urls: readonly string[];
  readonly #periodMs: number;
  readonly #timer: NodeJS.Timeout;
  readonly #losses: VisitResults["losses"] = [];
  /** URLs that have not answered yet, or failed since: Services and names of new applications come into being. */
  readonly #cold: Set<string>;
  #counting = false;
  #next = 0;
  #dueAtMs = performance.now();
  #sent = 0;
  #lost = 0;
  #open = 0;
  #longestMs = 0;
  #stopped = false;

  /** @param rate requests a second to all URLs together */
  constructor(urls: readonly string[], rate: number) {
    this.#urls = urls;
    this.#cold = new Set(urls);
    this.#periodMs = 1_000 / rate;
    this.#timer = setInterval(() => this.#tick(), 5);
  }

  /** Visits these from now on. Those that are new count once they have answered, as after a health check. */
  follow(urls: readonly string[]): void {
    for (const url of urls) if (!this.#urls.includes(url)) this.#cold.add(url);
    for (const url of this.#cold) if (!urls.includes(url)) this.#cold.delete(url);
    this.#urls = urls;
  }

  stop(): void {
    this.#stopped = true;
    clearInterval(this.#timer);
  }

  results(): VisitResults {
    return {
      ...{ sent: this.#sent, lost: this.#lost, losses: this.#losses },
      longestMs: Math.round(this.#longestMs),
      counting: this.#counting,
      final: this.#stopped && this.#open === 0,
    };
  }

  #tick(): void {
    const now = performance.now();
    // After a stall of this process the backlog is not sent in one burst.
    this.#dueAtMs = Math.max(this.#dueAtMs, now - 5 * this.#periodMs);
    while (this.#dueAtMs <= now && this.#urls.length > 0) {
      this.#dueAtMs += this.#periodMs;
      this.#visit(this.#urls[this.#next++ % this.#urls.length]!);
    }
  }

  #visit(url: string): void {
    const startMs = performance.now();
    const time = new Date().toISOString();
    const counts = this.#counting && !this.#cold.has(url);
    let isOver = false;
    const end = (error?: string): void => {
      if (isOver) return;
      isOver = true;
      this.#open--;
      if (!counts) {
        this.#tried(url, error === undefined);
        return;
      }
      this.#longestMs = Math.max(this.#longestMs, performance.now() - startMs);
      if (error === undefined) return;
      this.#lost++;
      if (this.#losses.length < maxLosses) this.#losses.push({ time, url, error });
    };
    if (counts) this.#sent++;
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

  #tried(url: string, worked: boolean): void {
    if (worked) this.#cold.delete(url);
    else if (this.#urls.includes(url)) this.#cold.add(url);
    if (this.#cold.size === 0) this.#counting = true;
  }
}
