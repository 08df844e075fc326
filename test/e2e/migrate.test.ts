// SPDX-License-Identifier: Apache-2.0
// A migration whose operator is killed (SIGKILL) in the middle of every step and after every step, under load.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { after, describe, test } from "node:test";
import { run } from "../../lib/run.ts";
import { ClusterUnderTest } from "./cluster-under-test.ts";
import { requireNoLoss } from "./losses.ts";
import { differences, networkState } from "./node-state.ts";
import type { Task } from "./testing-operator.ts";

const name = "e2e-mig";
const nodes = [`${name}-control-plane`, `${name}-worker`, `${name}-worker2`];
const shape = ["--workers", "2"];
const operatorFile = new URL("./testing-operator.ts", import.meta.url).pathname;

/** What each node has; nodes get their pod networks in the order in which they come, which differs. */
async function stateOf(cluster: ClusterUnderTest): Promise<string[][]> {
  const { items } = await cluster.get("nodes");
  const numbers: [string, string][] = items.map(({ metadata, spec }: any) => [
    /^10\.244\.\d+\./.exec(spec.podCIDR)![0],
    `(${metadata.name}).`,
  ]);
  const named = (line: string): string =>
    numbers.reduce((text, [prefix, node]) => text.replaceAll(prefix, node), line);
  return Promise.all(nodes.map(async (node) => (await networkState(name, node)).map(named)));
}

/** Runs operators one after another, each killed at a place that is new, until one comes to the end. */
async function operateKilled(cluster: ClusterUnderTest, planFile: string): Promise<string[]> {
  const file = `${cluster.folder}/task.json`;
  const places: string[] = [];
  for (;;) {
    const mode = places.length === 0 ? "run" : "resume";
    const task: Task = { kubeconfig: cluster.kubeconfig, planFile, mode, places };
    writeFileSync(file, JSON.stringify(task));
    const operator = await run(process.execPath, [operatorFile, file], {
      allowFailure: true,
      timeoutMs: 300_000,
    });
    const killed = [...operator.stdout.matchAll(/^killed (.*)$/gm)].map(([, place]) => place!);
    if (killed.length === 0) {
      assert.match(operator.stdout, /^Completed/, operator.stdout + operator.stderr);
      return places;
    }
    const found = killed.filter((place) => !places.includes(place));
    assert.ok(found.length > 0, `killed a second time at ${killed}`);
    places.push(...found);
  }
}

describe("a migration", () => {
  let cluster: ClusterUnderTest | undefined;
  after(async () => await cluster?.delete());

  test("whose operator is killed in and after every step ends as if it never had been", async (t) => {
    cluster = await ClusterUnderTest.create(name, [...shape, "--cni", "none", "--kube-proxy", "none"]);
    await cluster.shunt(["install"]);
    const clean = await stateOf(cluster);
    await cluster.delete();

    cluster = await ClusterUnderTest.create(name, [...shape, "--cni", "flannel", "--kube-proxy", "iptables"]);
    const planFile = `${cluster.folder}/plan.yaml`;
    const policy = { podSelector: {}, policyTypes: ["Ingress"] };
    await cluster.apply({
      ...{ apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", spec: policy },
      metadata: { name: "isolated", namespace: "default" },
    });
    const waits = ["--connection-deadline", "10s", "--policy-audit", "2s"];
    await cluster.shunt(["migrate", "plan", "--out", planFile, ...waits]);
    const places = await operateKilled(cluster, planFile);

    const report = JSON.parse((await cluster.shunt(["migrate", "report", "-o", "json"])).stdout);
    assert.equal(report.result, "succeeded");
    const expected = report.steps
      .filter(({ state }: any) => state !== "skipped")
      .flatMap(({ name: step }: any) => [`in ${step}`, `after ${step}`]);
    assert.deepEqual(places.toSorted(), expected.toSorted());
    t.diagnostic(`${places.length} places in ${expected.length / 2} steps`);
    assert.deepEqual(report.residue, []);
    requireNoLoss(report, t);
    assert.ok(report.probes.sent > 1_000);
    for (const { metadata, spec, status } of (await cluster.get("nodes.shunt.dev")).items)
      assert.deepEqual([spec.policy, status.layers.policy.mode], [undefined, "enforce"], metadata.name);
    const { items } = await cluster.get("nodes");
    assert.ok(items.every(({ spec }: any) => spec.unschedulable !== true));
    for (const [index, state] of (await stateOf(cluster)).entries())
      assert.deepEqual(differences(clean[index]!, state), [], nodes[index]!);
  });
});
