// SPDX-License-Identifier: Apache-2.0
// An inventory of 5,000 nodes, 10,000 Services and 150,000 pods, its preflight, its plan and a simulated run of
// that, in 30 s and 1 GiB of memory. This
// process serves the cluster; another one reads it, and the kernel measures that one's memory.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { serveGeneratedCluster } from "./generated-cluster.ts";

const size = { nodes: 5_000, services: 10_000, pods: 150_000, endpoints: 15, budgets: 5_000 };
const boundMiB = 1024;
/** By the clock on the wall, the time of the process that serves the cluster included. */
const boundMs = 30_000;

const module = (path: string): string => JSON.stringify(fileURLToPath(new URL(path, import.meta.url)));

const readerProgram = (port: number): string => `
  import { readFileSync } from "node:fs";
  import { KubeClient } from ${module("../../lib/kube.ts")};
  import { readInventory } from ${module("index.ts")};
  import { preflight } from ${module("../preflight/index.ts")};
  import { formatPlanFile, makePlan, simulateConcurrencies } from ${module("../plan/index.ts")};
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
  const judgedMs = Date.now() - start - readMs;
  const plan = makePlan(inventory, { maxUnavailable: 50 }, findings);
  const planBytes = formatPlanFile(plan).length;
  const simulations = simulateConcurrencies(inventory, { maxUnavailable: 50 });
  const totalMs = Date.now() - start;
  const peakKiB = Number(/VmHWM:\\s+(\\d+)/.exec(readFileSync("/proc/self/status", "utf8"))[1]);
  const { user, system } = process.cpuUsage();
  const jsonBytes = JSON.stringify(inventory).length;
  console.log(JSON.stringify({ readMs, judgedMs, cpuMs: (user + system) / 1000, totalMs, planBytes,
    expectedSeconds: plan.expectedSeconds, simulations: simulations.map(({ phases, ...rest }) => rest), peakKiB, jsonBytes, findings: findings.length, counts: inventory.counts,
    network: inventory.network.kind, drain: inventory.drain.length, worst: findings[0]?.id }));
  kube.close();
`;

test("inventory, plan and simulation of 150,000 pods stay under 1 GiB and 30 s", {
  timeout: 300_000,
}, async (context) => {
  const { port, pages, close } = await serveGeneratedCluster(size);
  context.after(close);
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ["--input-type=module", "-e", readerProgram(port)],
    { timeout: 240_000 },
  );
  const result = JSON.parse(stdout);
  const peakMiB = Math.round(result.peakKiB / 1024);
  context.diagnostic(
    `read in ${result.readMs} ms, judged in ${result.judgedMs} ms, all in ${result.totalMs} ms (${Math.round(result.cpuMs)} ms of processor time), ${peakMiB} MiB, ${result.jsonBytes} bytes of JSON, a plan of ${result.planBytes} bytes`,
  );
  assert.equal(result.network, "flannel");
  assert.deepEqual(
    [result.counts.nodes, result.counts.services, result.counts.pods, result.counts.endpoints],
    [size.nodes, size.services, size.pods, size.services * size.endpoints],
  );
  assert.equal(result.drain, size.pods / 10 / 5);
  assert.equal(result.worst, "drain-empty-dir");
  assert.ok(result.findings < 100, `${result.findings} findings are more than anybody reads`);
  assert.ok(result.totalMs < boundMs, `${result.totalMs} ms are more than ${boundMs} ms`);
  assert.ok(peakMiB < boundMiB, `${peakMiB} MiB is more than ${boundMiB} MiB`);
  // Each list came in pages, each page once: nothing ever held a whole list.
  assert.equal(pages.get("/api/v1/pods"), size.pods / 1000);
  assert.equal(pages.get("/apis/discovery.k8s.io/v1/endpointslices"), size.services / 1000);
  const chosen = result.simulations.find(({ maxUnavailable }: any) => maxUnavailable === 50);
  assert.ok(Math.abs(chosen.expectedSeconds - result.expectedSeconds) <= 1);
  assert.equal(chosen.nodes, size.nodes);
  const durations = result.simulations.map(({ expectedSeconds }: any) => expectedSeconds);
  assert.deepEqual(
    durations,
    [...durations].sort((a, b) => b - a),
  );
  context.diagnostic(
    `simulated: ${result.simulations.map((s: any) => `${s.maxUnavailable} at once ${s.expectedSeconds} s`).join(", ")}`,
  );
});
