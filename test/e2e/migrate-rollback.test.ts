// SPDX-License-Identifier: Apache-2.0
// A migration that takes every step back before it goes on, and is taken back as a whole in the end.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, test } from "node:test";
import { connectKube } from "../../lib/kube-connect.ts";
import { defaultRunOptions, rollbackMigration, startMigration } from "../../migrate/engine/index.ts";
import { createNodeTask } from "../../migrate/node-task/index.ts";
import { parsePlanFile } from "../../migrate/plan/index.ts";
import { probeControl } from "../../migrate/probes/index.ts";
import type { StepKind, StepKinds } from "../../migrate/step-kind.ts";
import { stepKinds } from "../../migrate/steps/index.ts";
import { ClusterUnderTest } from "./cluster-under-test.ts";
import { differences, networkState } from "./node-state.ts";

const name = "e2e-back";
const nodes = [`${name}-control-plane`, `${name}-worker`, `${name}-worker2`];
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

let cluster: ClusterUnderTest | undefined;
after(async () => await cluster?.delete());

test("a migration gives back what it found, from every step and from the end", async () => {
  cluster = await ClusterUnderTest.create(name, [
    "--workers",
    "2",
    "--cni",
    "kindnet",
    "--kube-proxy",
    "nftables",
  ]);
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
        const others = nodes.filter((node) => context.step.node !== undefined && node !== context.step.node);
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
    await cluster.apply({
      ...{ apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy" },
      metadata: { name: "isolated", namespace: "default" },
      spec: { podSelector: { matchLabels: { app: "nothing" } } },
    });
    const waits = ["--connection-deadline", "10s", "--policy-audit", "2s"];
    await cluster.shunt(["migrate", "plan", "--out", planFile, ...waits]);
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
