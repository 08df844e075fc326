// SPDX-License-Identifier: Apache-2.0

/** What a load run saw. */
export interface LoadResult {
  sent: number;
  failed: { atMs: number; url: string; error: string }[];
}

/**
 * A program for a pod's Node (given on its standard input): GETs the URLs in turn at a constant rate, each on a
 * connection of its own, whether or not earlier ones have been answered, and prints a LoadResult.
 */
export function loadProgram(urls: string[], requestsPerSecond: number, durationMs: number): string {
  return `
    import http from "node:http";
    const urls = ${JSON.stringify(urls)};
    const start = Date.now();
    const result = { sent: 0, failed: [] };
    let open = 0;
    const request = (url) => {
      open++;
      result.sent++;
      const atMs = Date.now() - start;
      let settled = false;
      const end = (error) => {
        if (settled) return;
        settled = true;
        open--;
        if (error) result.failed.push({ atMs, url, error });
      };
      const sent = http.get(url, { agent: false, timeout: 5000 }, (response) => {
        response.resume();
        response.on("end", () => end(response.statusCode === 200 ? undefined : "status " + response.statusCode));
        response.on("error", (error) => end(String(error)));
      });
      sent.on("timeout", () => sent.destroy(new Error("no answer within 5 s")));
      sent.on("error", (error) => end(error.code ?? String(error)));
    };
    const timer = setInterval(() => {
      const elapsed = Math.min(Date.now() - start, ${durationMs});
      const due = Math.floor((elapsed / 1000) * ${requestsPerSecond});
      while (result.sent < due) request(urls[result.sent % urls.length]);
      if (elapsed < ${durationMs} || open > 0) return;
      clearInterval(timer);
      console.log(JSON.stringify(result));
    }, 5);`;
}
