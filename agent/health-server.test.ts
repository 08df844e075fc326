// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { createLogger } from "../lib/log.ts";
import { waitFor } from "../lib/wait.ts";
import { serveAgent } from "./health-server.ts";
import type { ServiceFilter } from "./service-view.ts";

const host = "127.0.0.1";
const stop = new AbortController();
let loaded = true;
let port = 0;
let asked: ServiceFilter | undefined;

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  const { port: free } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return free;
}
const ask = (path: string) => fetch(`http://${host}:${port}${path}`);

before(async () => {
  port = await freePort();
  const ports = { healthPort: port, metricsPort: await freePort() };
  serveAgent(
    { ...ports, log: createLogger(() => undefined), signal: stop.signal },
    {
      ready: () => ({ status: "True", message: "" }),
      status: () => ({}),
      async services(filter) {
        asked = filter;
        return loaded ? [] : undefined;
      },
      trace: ({ pod }) => ({ mode: pod === "a/b" ? "enforce" : "off" }),
      denials: () => (loaded ? [] : undefined),
      policies: () => ({ mode: "off", policies: [] }),
      endpoints: () => [],
      metrics: { contentType: "text/plain", metrics: async () => "" },
    },
  );
  await waitFor("the server", async () => (await ask("/healthz")).ok, { timeoutMs: 5_000, intervalMs: 20 });
});
after(() => stop.abort());

test("services are told, all or those that were asked for", async () => {
  const response = await ask("/services");
  assert.deepEqual([response.status, await response.json()], [200, []]);
  assert.deepEqual(asked, { namespace: undefined, name: undefined });
  await ask("/services?namespace=default&name=web");
  assert.deepEqual(asked, { namespace: "default", name: "web" });
});

test("without kernel programs there is no answer that looks like no services", async () => {
  loaded = false;
  assert.equal((await ask("/services")).status, 503);
});

test("a connection is asked about by names and numbers; what makes no sense is refused", async () => {
  const query = { pod: "a/b", direction: "ingress", peer: "10.0.0.1", protocol: "6", port: "80" };
  const trace = (change: object) => ask(`/policy/trace?${new URLSearchParams({ ...query, ...change })}`);
  assert.deepEqual(await (await trace({})).json(), { mode: "enforce" });
  const wrong = [{ pod: "" }, { direction: "up" }, { peer: "x" }, { protocol: "256" }, { port: "-1" }];
  for (const change of [...wrong, { port: "65536" }, { port: "" }])
    assert.equal((await trace(change)).status, 400, JSON.stringify(change));
});
