// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { once } from "node:events";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { waitFor } from "../../../../lib/wait.ts";
import { Visits } from "./visits.ts";

test("every visit is answered or counted as lost, with why", async (t) => {
  let count = 0;
  const server = http.createServer((_, response) => {
    count++;
    response.writeHead(count === 3 ? 502 : 200).end("catalog: ECONNREFUSED\n");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  const visits = new Visits([`http://127.0.0.1:${port}/`], 100);
  await waitFor("ten visits", async () => count >= 10, { timeoutMs: 10_000, intervalMs: 10 });
  visits.stop();
  await waitFor("the last answers", async () => visits.results().final, {
    timeoutMs: 10_000,
    intervalMs: 10,
  });
  const { sent, lost, losses } = visits.results();
  assert.deepEqual([sent, lost], [count, 1]);
  assert.match(losses[0]!.error, /^502: catalog: ECONNREFUSED$/);
});
