// SPDX-License-Identifier: Apache-2.0
// A migration whose operator is killed (SIGKILL) in the middle of every step and after every step, under load; and
// one that takes every step back before it goes on.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { after, describe, test } from "node:test";
import { connectKube } from "../../lib/kube-connect.ts";
import { defaultRunOptions, rollbackMigration, startMigration } from "../../migrate/engine/index.ts";
import { createNodeTask } from "../../migrate/node-task/index.ts";
import { parsePlanFile } from "../../migrate/plan/index.ts";
import { probeControl } from "../../migrate/probes/index.ts";
import type { StepKind, StepKinds } from "../../migrate/step-kind.ts";
import { stepKinds } from "../../migrate/steps/index.ts";
import { ClusterUnderTest } from "./cluster-under-test.ts";
import { differences, networkState } from "./node-state.ts";

const name = "e2e-mig";
const nodes = [`${name}-control-plane`, `${name}-worker`, `${name}-worker2`];
const shape = ["--workers", "2"];
const launcher = new URL("../../shunt", import.meta.url).pathname;

const stateOf = (): Promise<string[][]> => Promise.all(nodes.map((node) => networkState(name, node)));

/** What a migration changes in objects that are not its own. */
async function managedObjects(cluster: ClusterUnderTest): Promise<string[]> {
  const found: string[] = [];
  for (const { metadata, spec } of (await cluster.get("nodes")).items)
    found.push(
      `${metadata.name} cordoned ${spec.unschedulable ?? false} ${spec.taints?.map(({ key, effect }: any) => `${key}:${effect}`)}`,
    );
  for (const { metadata, spec } of (await cluster.get("daemonsets", "-A")).items)
    found.push(
      `${metadata.namespace}/${metadata.name} ${JSON.stringify(spec.template.spec.nodeSelector ?? {})}`,
    );
  for (const { metadata } of (await cluster.get("namespaces")).items)
    found.push(`namespace ${metadata.name}`);
  const { items: maps } = await cluster.get("configmaps", "-n", "kube-system");
  // What the probes saw stays, like the journal, for the report.
  for (const { metadata, data } of maps.filter((map: any) => map.metadata.name !== "shunt-probe-results"))
    found.push(`configmap ${metadata.name} ${JSON.stringify(data)}`);
  return found;
}

/**
 * What a step's undo alone leaves for another's: the agent follows its peers some time later, its plugin serves pods
 * until they are gone, kube-proxy writes its rules when it is back, and probes that were stopped stay off.
 */
const isLate = (line: string): boolean =>
  /table 847[34]|rule: 47[2-5]:|bin\/shunt-cni|kube-proxy|KUBE-|shunt_open_connections|shunt-probe/.test(
    line,
  );

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

  test("whose operator is killed in and after every step ends as if it never had been, and loses nothing", async () => {
    cluster = await ClusterUnderTest.create(name, [...shape, "--cni", "none", "--kube-proxy", "none"]);
    await cluster.shunt(["install"]);
    const clean = await stateOf();
    await cluster.delete();

    cluster = await ClusterUnderTest.create(name, [...shape, "--cni", "flannel", "--kube-proxy", "iptables"]);
    const planFile = `${cluster.folder}/plan.yaml`;
    await cluster.shunt(["migrate", "plan", "--out", planFile, "--connection-deadline", "10s"]);
    const places = await operateKilled(cluster, ["run", "--plan", planFile, "--yes", "--probe-rate", "60"]);

    const report = JSON.parse((await cluster.shunt(["migrate", "report", "-o", "json"])).stdout);
    assert.equal(report.result, "succeeded");
    const ended = report.steps.filter(({ name: step }: any) => places.has(`done ${step}`));
    for (const { name: step } of report.steps)
      assert.ok(places.has(`running ${step}`), `nobody was killed in ${step}`);
    // The others ended in the moment in which their operator was killed.
    assert.ok(ended.length > 0.8 * report.steps.length, `killed after ${ended.length} steps`);
    assert.deepEqual([report.probes.lost, report.longConnections.broken, report.residue], [0, 0, []]);
    assert.ok(report.probes.sent > 1_000);
    const { items } = await cluster.get("nodes");
    assert.ok(items.every(({ spec }: any) => spec.unschedulable !== true));
    for (const [index, state] of (await stateOf()).entries())
      assert.deepEqual(differences(clean[index]!, state), [], nodes[index]!);
  });

  test("gives back what it found, from every step and from the end", async () => {
    await cluster?.delete();
    cluster = await ClusterUnderTest.create(name, [...shape, "--cni", "kindnet", "--kube-proxy", "nftables"]);
    const kube = await connectKube({ kubeconfig: cluster.kubeconfig });
    try {
      const look = async (): Promise<string[]> => [
        ...(await stateOf()).flatMap((lines, index) => lines.map((line) => `${nodes[index]} ${line}`)),
        ...(await managedObjects(cluster!)),
      ];
      const wrong: string[] = [];
      const undoEach = (kind: StepKind): StepKind => ({
        ...kind,
        async apply(context) {
          const before = await look();
          await kind.apply(context);
          await kind.verify(context);
          const notes = Object.keys(context.notes);
          await kind.undo(context);
          // Steps of other nodes run at the same time.
          const others = nodes.filter(
            (node) => context.step.node !== undefined && node !== context.step.node,
          );
          const left = differences(before, await look()).filter(
            (line) => !isLate(line) && !others.some((node) => line.slice(2).startsWith(`${node} `)),
          );
          wrong.push(...left.map((line) => `${context.step.name}: ${line}`));
          // What it remembered belonged to what was taken back.
          await context.remember(Object.fromEntries(notes.map((note) => [note, undefined])));
          return await kind.apply(context);
        },
      });
      const operator = {
        kube,
        kinds: Object.fromEntries(
          Object.entries(stepKinds).map(([kind, value]) => [kind, undoEach(value)]),
        ) as StepKinds,
        tools: { nodeTask: createNodeTask(kube), probes: probeControl(kube, { totalRate: 40 }) },
        signal: AbortSignal.timeout(1_500_000),
        options: defaultRunOptions,
      };
      const first = await look();
      const planFile = `${cluster.folder}/plan.yaml`;
      await cluster.shunt(["migrate", "plan", "--out", planFile, "--connection-deadline", "10s"]);
      const plan = parsePlanFile(readFileSync(planFile, "utf8"), planFile);
      const outcome = await startMigration(operator, plan, "there-and-back");
      assert.deepEqual([outcome.phase, outcome.reason], ["Completed", outcome.reason]);
      assert.deepEqual(wrong, []);
      assert.equal((await rollbackMigration(operator)).phase, "RolledBack");
      assert.deepEqual(differences(first, await look()), []);
    } finally {
      kube.close();
    }
  });
});
