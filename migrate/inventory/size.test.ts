// SPDX-License-Identifier: Apache-2.0
// An inventory of 5,000 nodes, 10,000 Services and 150,000 pods, and its preflight, in 1 GiB of memory. This
// process serves the cluster; another one reads it, and the kernel measures that one's memory.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { serveGeneratedCluster } from "./generated-cluster.ts";

const size = { nodes: 5_000, services: 10_000, pods: 150_000, endpoints: 15, budgets: 5_000 };
const boundMiB = 1024;
/** Of processor time: on a machine that does nothing else the wait is not longer. */
const boundCpuMs = 30_000;

const module = (path: string): string => JSON.stringify(fileURLToPath(new URL(path, import.meta.url)));

const readerProgram = (port: number): string => `
  import { readFileSync } from "node:fs";
  import { KubeClient } from ${module("../../lib/kube.ts")};
  import { readInventory } from ${module("index.ts")};
  import { preflight } from ${module("../preflight/index.ts")};
  const server = "http://127.0.0.1:${port}";
  const kube = new KubeClient({
    getCurrentCluster: () => ({ name: "generated", server, skipTLSVerify: false }),
    getCurrentContext: () => "generated",
    applyToHTTPSOptions: async () => {},
  });
  const start = Date.now();
  const inventory = await readInventory(kube);
  const readMs = Date.now() - start;
  const findings = preflight(inventory);
  const totalMs = Date.now() - start;
  const peakKiB = Number(/VmHWM:\\s+(\\d+)/.exec(readFileSync("/proc/self/status", "utf8"))[1]);
  const { user, system } = process.cpuUsage();
  const jsonBytes = JSON.stringify(inventory).length;
  console.log(JSON.stringify({ readMs, cpuMs: (user + system) / 1000, totalMs, peakKiB, jsonBytes, findings: findings.length, counts: inventory.counts,
    network: inventory.network.kind, drain: inventory.drain.length, worst: findings[0]?.id }));
  kube.close();
`;

test("an inventory of 150,000 pods stays under 1 GiB and 30 s", { timeout: 300_000 }, async (context) => {
  const { port, close } = await serveGeneratedCluster(size);
  context.after(close);
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ["--input-type=module", "-e", readerProgram(port)],
    { timeout: 240_000 },
  );
  const result = JSON.parse(stdout);
  const peakMiB = Math.round(result.peakKiB / 1024);
  context.diagnostic(
    `read in ${result.readMs} ms (${result.cpuMs} ms of processor time), judged in ${result.totalMs - result.readMs} ms, ${peakMiB} MiB, ${result.jsonBytes} bytes of JSON`,
  );
  assert.equal(result.network, "flannel");
  assert.deepEqual(
    [result.counts.nodes, result.counts.services, result.counts.pods, result.counts.endpoints],
    [size.nodes, size.services, size.pods, size.services * size.endpoints],
  );
  assert.equal(result.drain, size.pods / 10 / 5);
  assert.equal(result.worst, "drain-empty-dir");
  assert.ok(result.findings < 100, `${result.findings} findings are more than anybody reads`);
  assert.ok(result.cpuMs < boundCpuMs, `${result.cpuMs} ms of processor time`);
  assert.ok(peakMiB < boundMiB, `${peakMiB} MiB is more than ${boundMiB} MiB`);
});
