// SPDX-License-Identifier: Apache-2.0
// kube-proxy is stopped when every agent serves Services, and not before; agents are played by the test.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { type KubeClient, resourcePath } from "../../lib/kube.ts";
import { sleep, waitFor } from "../../lib/wait.ts";
import { startTestApiServer, type TestApiServer } from "../../test/clusters/sandbox/apiserver/testing.ts";
import { agentDefinition, make } from "../compare/testing.ts";
import { connectWith, credentialsOf } from "../engine/testing.ts";
import { makePlan, planSteps } from "../plan/index.ts";
import { sampleInventory } from "../plan/testing.ts";
import type { StepContext } from "../step-kind.ts";
import { servicesHandoverStep } from "./services-handover.ts";

let server: TestApiServer;
let kube: KubeClient;
const shuntNodes = "/apis/shunt.dev/v1alpha1/nodes";
const kubeProxy = resourcePath("apps/v1", "daemonsets", "kube-system", "kube-proxy");
const plan = makePlan(sampleInventory(1));

before(async () => {
  server = await startTestApiServer();
  kube = connectWith(credentialsOf(server.kubeconfig));
  await make(kube, agentDefinition());
  const labels = { app: "kube-proxy" };
  await kube.create(resourcePath("apps/v1", "daemonsets", "kube-system"), {
    metadata: { name: "kube-proxy", namespace: "kube-system" },
    spec: {
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers: [{ name: "c", image: "i" }] } },
    },
  });
});

after(async () => {
  kube?.close();
  await server?.stop();
});

async function agent(name: string, ready: boolean, message: string): Promise<void> {
  await kube.create(resourcePath("v1", "nodes"), { metadata: { name } });
  await kube.create(shuntNodes, {
    apiVersion: "shunt.dev/v1alpha1",
    kind: "ShuntNode",
    metadata: { name },
    spec: { services: "handover" },
    status: {
      observedGeneration: 99,
      conditions: [{ type: "Ready", status: ready ? "True" : "False", message }],
      layers: { podNetwork: { mode: "active", cniConfiguration: true }, services: { mode: "handover" } },
    },
  });
}

const selectorNow = async () => (await kube.get(kubeProxy)).spec.template.spec.nodeSelector;

const step = planSteps(plan).find(({ kind }) => kind === "services-handover")!;
/** Items of residue by node, as node tasks find them. */
const rules: Record<string, object[]> = {};
const contextOf = (before: any): StepContext => ({
  ...{ kube, plan, step, before, migration: "m", notes: {} },
  tools: {
    nodeTask: {
      run: async (kind, node) => (kind === "residue" ? { items: rules[node] ?? [] } : null) as any,
    },
  },
  signal: AbortSignal.timeout(60_000),
  remember: async () => undefined,
  nodes: () => ({ old: [], switched: [] }),
  endedAt: () => undefined,
  report: () => undefined,
});

test("one agent that is not ready keeps kube-proxy running; when it is, kube-proxy stops", async () => {
  await agent("control-plane", true, "");
  await agent("worker-1", false, "it restarts");
  const context = contextOf(await servicesHandoverStep.record!(contextOf(null)));
  const applied = servicesHandoverStep.apply(context);
  const early = await Promise.race([
    applied,
    new Promise((resolve) => setTimeout(resolve, 1_500, "still waiting")),
  ]);
  assert.equal(early, "still waiting");
  assert.equal(await selectorNow(), undefined);
  const conditions = [{ type: "Ready", status: "True" }];
  await kube.patch(`${shuntNodes}/worker-1`, "merge", { status: { conditions } });
  await applied;
  assert.deepEqual(await selectorNow(), { "non-existing": "true" });
});

test("taken back, an agent serves until kube-proxy's rules are on its node", async () => {
  const modes = { "control-plane": { services: "shadow" }, "worker-1": { services: "shadow" } };
  const stopped = { kind: "DaemonSet", namespace: "kube-system", name: "kube-proxy", nodeSelector: null };
  rules["control-plane"] = [{ kind: "chain" }];
  const undone = servicesHandoverStep.undo(contextOf({ kubeProxy: stopped, modes }));
  const status = { observedGeneration: 99, numberReady: 2, updatedNumberScheduled: 2 };
  await kube.patch(`${kubeProxy}/status`, "merge", { status: { ...status, desiredNumberScheduled: 2 } });
  const servicesOf = async (node: string) => (await kube.get(`${shuntNodes}/${node}`)).spec.services;
  const follow = async (node: string) => {
    await waitFor(`${node} to be told`, async () => (await servicesOf(node)) === "shadow", {
      timeoutMs: 20_000,
    });
    const layers = { services: { mode: "shadow" } };
    await kube.patch(`${shuntNodes}/${node}`, "merge", { status: { layers } });
  };
  await follow("control-plane");
  await sleep(3_000);
  assert.equal(await servicesOf("worker-1"), "handover");
  rules["worker-1"] = [{ kind: "chain" }];
  await follow("worker-1");
  assert.equal(await undone, "kube-proxy runs again");
  assert.equal(await selectorNow(), undefined);
});
