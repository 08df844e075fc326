// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { test } from "node:test";
import { createLogger } from "../lib/log.ts";
import { waitFor } from "../lib/wait.ts";
import { ServiceHealth } from "./service-health.ts";

const log = createLogger(() => undefined);
const host = "127.0.0.1";

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}
/** Status and body of a request, once somebody listens; undefined while nobody does. */
const ask = async (port: number, path = "/") => {
  const response = await fetch(`http://${host}:${port}${path}`).catch(() => undefined);
  if (response === undefined) return undefined;
  const weight = response.headers.get("x-load-balancing-endpoint-weight");
  return { status: response.status, weight, body: await response.text() };
};
const answered = (port: number, path?: string) =>
  waitFor("an answer", () => ask(port, path), { timeoutMs: 5_000, intervalMs: 20 });

test("load balancers learn which nodes have endpoints", async () => {
  const [port, nodePort] = [await freePort(), await freePort()];
  const health = new ServiceHealth({ log, nodePort, host });
  const check = { namespace: "default", name: "web", port, localEndpoints: 2 };
  try {
    health.set([check], { healthy: true, leaving: false });
    const good = await answered(port, "/anything");
    assert.deepEqual([good?.status, good?.weight], [200, "2"]);
    assert.deepEqual(JSON.parse(good!.body), {
      service: { namespace: "default", name: "web" },
      localEndpoints: 2,
      serviceProxyHealthy: true,
    });
    health.set([{ ...check, localEndpoints: 0 }], { healthy: true, leaving: false });
    assert.equal((await ask(port))?.status, 503);
    health.set([check], { healthy: false, leaving: false });
    assert.equal((await ask(port))?.status, 503);
    health.set([], { healthy: true, leaving: false });
    await waitFor("nobody to listen", async () => (await ask(port)) === undefined, { timeoutMs: 5_000 });
  } finally {
    health.stop();
  }
});

test("a node that leaves is alive and not eligible, and stops answering when Services are not ours", async () => {
  const nodePort = await freePort();
  const health = new ServiceHealth({ log, nodePort, host });
  try {
    health.set([], { healthy: true, leaving: false });
    assert.equal((await answered(nodePort, "/healthz"))?.status, 200);
    health.set([], { healthy: true, leaving: true });
    assert.deepEqual(
      [(await ask(nodePort, "/healthz"))?.status, (await ask(nodePort, "/livez"))?.status],
      [503, 200],
    );
    assert.equal((await ask(nodePort, "/"))?.status, 404);
    health.set([], undefined);
    await waitFor("nobody to listen", async () => (await ask(nodePort)) === undefined, { timeoutMs: 5_000 });
  } finally {
    health.stop();
  }
});

test("an occupied port is taken over when it is free: kube-proxy answers until it goes", async () => {
  const server = createServer((_request, response) => response.writeHead(418).end());
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  const { port } = server.address() as { port: number };
  const health = new ServiceHealth({ log, nodePort: port, host });
  try {
    health.set([], { healthy: true, leaving: false });
    assert.equal((await ask(port, "/healthz"))?.status, 418);
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
    assert.equal((await answered(port, "/healthz"))?.status, 200);
  } finally {
    server.close();
    health.stop();
  }
});
