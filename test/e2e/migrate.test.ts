// SPDX-License-Identifier: Apache-2.0
// A migration whose operator is killed (SIGKILL) in the middle of every step and after every step, under load.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { after, describe, test } from "node:test";
import { ClusterUnderTest } from "./cluster-under-test.ts";
import { requireHardlyAnyLoss } from "./losses.ts";
import { differences, networkState } from "./node-state.ts";

const name = "e2e-mig";
const nodes = [`${name}-control-plane`, `${name}-worker`, `${name}-worker2`];
const shape = ["--workers", "2"];
const launcher = new URL("../../shunt", import.meta.url).pathname;

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

interface Line {
  event: string;
  step?: string;
  state?: string;
}

/** Runs an operator until it ends by itself (its exit code), or until `killAt` names the delay after a line. */
function operate(
  cluster: ClusterUnderTest,
  words: string[],
  killAt: (line: Line) => number | undefined,
): Promise<{ exitCode: number | null; killed: boolean; errors: string }> {
  return new Promise((resolve) => {
    const child = spawn(launcher, ["migrate", ...words, "--no-connectivity-test", "-o", "json"], {
      env: { ...process.env, CI: "true", KUBECONFIG: cluster.kubeconfig },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let killed = false;
    let errors = "";
    const kill = (): void => {
      if (child.exitCode === null) killed = child.kill("SIGKILL") || killed;
    };
    child.stderr.on("data", (chunk) => (errors += chunk));
    createInterface({ input: child.stdout }).on("line", (text) => {
      const delayMs = killAt(JSON.parse(text));
      if (delayMs !== undefined) setTimeout(kill, delayMs);
    });
    child.on("close", (exitCode) => resolve({ exitCode, killed, errors }));
  });
}

/** Goes on with new operators until one is not killed. Returns where they were. */
async function operateKilled(cluster: ClusterUnderTest, first: string[]): Promise<Set<string>> {
  const places = new Set<string>();
  for (let attempt = 0; attempt < 200; attempt++) {
    let aimedAt: string | undefined;
    const { exitCode, killed, errors } = await operate(
      cluster,
      attempt === 0 ? first : ["resume"],
      ({ event, step, state }) => {
        const place = `${state} ${step}`;
        if (event !== "step" || !["running", "done"].includes(state!) || places.has(place)) return;
        // A step that ends before the blow falls has had it at its end.
        if (aimedAt !== undefined && !(state === "done" && step === aimedAt)) return;
        aimedAt = step!;
        places.add(place);
        // In the middle of what is under way, at a different moment in each step.
        return state === "done" ? 0 : (places.size * 37) % 250;
      },
    );
    if (killed) continue;
    assert.equal(exitCode, 0, errors);
    return places;
  }
  throw new Error("it does not come to an end");
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
    await cluster.shunt(["migrate", "plan", "--out", planFile, "--connection-deadline", "10s"]);
    const places = await operateKilled(cluster, ["run", "--plan", planFile, "--yes", "--probe-rate", "60"]);

    const report = JSON.parse((await cluster.shunt(["migrate", "report", "-o", "json"])).stdout);
    assert.equal(report.result, "succeeded");
    const kindsOf = (steps: any[]): string[] => [...new Set<string>(steps.map(({ kind }) => kind))].sort();
    for (const state of ["running", "done"]) {
      const hit = report.steps.filter(({ name: step }: any) => places.has(`${state} ${step}`));
      // The others began and ended while the blow for another was under way.
      assert.ok(hit.length > 0.8 * report.steps.length, `killed at ${hit.length} steps, ${state}`);
      if (state === "running") assert.deepEqual(kindsOf(hit), kindsOf(report.steps));
    }
    assert.deepEqual(report.residue, []);
    requireHardlyAnyLoss(report, t);
    assert.ok(report.probes.sent > 1_000);
    const { items } = await cluster.get("nodes");
    assert.ok(items.every(({ spec }: any) => spec.unschedulable !== true));
    for (const [index, state] of (await stateOf(cluster)).entries())
      assert.deepEqual(differences(clean[index]!, state), [], nodes[index]!);
  });
});
