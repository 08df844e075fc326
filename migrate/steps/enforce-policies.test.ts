// SPDX-License-Identifier: Apache-2.0
// Policies go from audit to enforce on all nodes or on none; agents are played by the test.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { type KubeClient, resourcePath } from "../../lib/kube.ts";
import { startTestApiServer, type TestApiServer } from "../../test/clusters/sandbox/apiserver/testing.ts";
import { agentDefinition, make } from "../compare/testing.ts";
import { connectWith, credentialsOf } from "../engine/testing.ts";
import { makePlan, planSteps } from "../plan/index.ts";
import { sampleInventory } from "../plan/testing.ts";
import type { StepContext } from "../step-kind.ts";
import { enforcePoliciesStep } from "./enforce-policies.ts";

const agents = (name?: string): string => resourcePath("shunt.dev/v1alpha1", "nodes", undefined, name);
const setting = { value: "modes.policy=audit", reason: "" };
const plan = makePlan(sampleInventory(1), { policyAuditSeconds: 3 }, [], new Date(), [setting]);
const step = planSteps(plan).find(({ kind }) => kind === "enforce-policies")!;
let server: TestApiServer;
let kube: KubeClient;
let notes: Record<string, any>;
let stop: AbortController;

beforeEach(async () => {
  server = await startTestApiServer();
  kube = connectWith(credentialsOf(server.kubeconfig));
  await make(kube, agentDefinition());
  notes = {};
  stop = new AbortController();
});
afterEach(async () => {
  stop.abort();
  kube?.close();
  await server?.stop();
});

interface Played {
  mode?: string;
  audited?: object;
}

async function agent(name: string, { mode = "audit", audited }: Played = {}): Promise<void> {
  await kube.create(resourcePath("v1", "nodes"), { metadata: { name } });
  await kube.create(agents(), {
    ...{ apiVersion: "shunt.dev/v1alpha1", kind: "ShuntNode", metadata: { name } },
    spec: mode === "audit" ? {} : { policy: mode },
    status: {
      observedGeneration: 99,
      conditions: [{ type: "Ready", status: "True" }],
      layers: { policy: { mode, ...(audited === undefined ? {} : { audited }) } },
    },
  });
}

const silent = { audited: { count: 0, examples: [] } };

/** Plays the agents: each does what its object asks for. Those of `deaf` do not. */
async function play(deaf: string[] = []): Promise<void> {
  while (!stop.signal.aborted) {
    const { items } = await kube.list(agents()).catch(() => ({ items: [] }));
    for (const { metadata, spec, status } of items) {
      const mode = spec?.policy ?? "audit";
      if (deaf.includes(metadata.name!) || status?.layers?.policy?.mode === mode) continue;
      const layers = { policy: { mode, audited: mode === "audit" ? silent.audited : null } };
      await kube.patch(agents(metadata.name), "merge", { status: { layers } }).catch(() => undefined);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const contextOf = (before: any, signal = AbortSignal.timeout(60_000)): StepContext => ({
  ...{ kube, plan, step, before, notes, signal, migration: "m" },
  tools: { nodeTask: { run: async () => null } },
  remember: async (more) => void Object.assign(notes, more),
  nodes: () => ({ old: [], switched: [] }),
  endedAt: () => undefined,
  report: () => undefined,
});
const record = async () => await enforcePoliciesStep.record!(contextOf(null));
const asked = async (): Promise<Record<string, string | undefined>> =>
  Object.fromEntries(
    (await kube.list(agents())).items.map(({ metadata, spec }) => [metadata.name!, spec?.policy]),
  );

test("where audit saw nothing, every node enforces; undone, each is asked for what it was", async () => {
  for (const name of ["a", "b"]) await agent(name, silent);
  await agent("other", { mode: "off" });
  const before = await record();
  const played = play();
  const started = performance.now();
  assert.match((await enforcePoliciesStep.apply(contextOf(before)))!, /enforced on 2 nodes/);
  assert.ok(performance.now() - started >= 3_000, "it was watched for as long as the plan says");
  await enforcePoliciesStep.verify(contextOf(before));
  assert.deepEqual(await asked(), { a: "enforce", b: "enforce", other: "off" });
  await enforcePoliciesStep.undo(contextOf(before));
  assert.deepEqual(await asked(), { a: undefined, b: undefined, other: "off" });
  stop.abort();
  await played;
});

test("where it saw something on one node, none enforces, and the journal has what it was", async () => {
  await agent("a", silent);
  await agent("b", { audited: { count: 2, examples: ["shop/web, ingress from world, port 80/TCP"] } });
  const before = await record();
  assert.match(
    (await enforcePoliciesStep.apply(contextOf(before)))!,
    /stay in audit: they would deny 2 kinds/,
  );
  assert.equal(await enforcePoliciesStep.verify(contextOf(before)), undefined);
  assert.deepEqual(await asked(), { a: undefined, b: undefined });
  assert.deepEqual(notes.examples, ["shop/web, ingress from world, port 80/TCP"]);
  assert.deepEqual(notes.changed, []);
});

test("an agent that does not tell what it audits is waited for", async () => {
  await agent("a", silent);
  await agent("b");
  const before = await record();
  const applied = enforcePoliciesStep.apply(contextOf(before));
  const early = await Promise.race([applied, new Promise((resolve) => setTimeout(resolve, 5_000, "waits"))]);
  assert.equal(early, "waits");
  assert.deepEqual(await asked(), { a: undefined, b: undefined });
  await kube.patch(agents("b"), "merge", { status: { layers: { policy: silent } } });
  const played = play();
  assert.match((await applied)!, /enforced on 2 nodes/);
  stop.abort();
  await played;
});

test("stopped when some nodes enforce, it goes on with the rest, whatever audit sees then", async () => {
  for (const name of ["a", "b"]) await agent(name, silent);
  const before = await record();
  const interrupted = new AbortController();
  const played = play(["b"]);
  const first = enforcePoliciesStep.apply(contextOf(before, interrupted.signal));
  while ((await asked()).a !== "enforce") await new Promise((resolve) => setTimeout(resolve, 50));
  await new Promise((resolve) => setTimeout(resolve, 500));
  interrupted.abort();
  await assert.rejects(first);
  await kube.patch(agents("b"), "merge", {
    spec: { policy: null },
    status: { layers: { policy: { mode: "audit", audited: { count: 1, examples: ["x"] } } } },
  });
  const again = play();
  await enforcePoliciesStep.apply(contextOf(before));
  assert.deepEqual(await asked(), { a: "enforce", b: "enforce" });
  stop.abort();
  await Promise.all([played, again]);
});
