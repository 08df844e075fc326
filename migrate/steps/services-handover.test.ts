// SPDX-License-Identifier: Apache-2.0
// kube-proxy is stopped when every agent serves Services, and not before; agents are played by the test.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { type KubeClient, resourcePath } from "../../lib/kube.ts";
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

test("one agent that is not ready keeps kube-proxy running; when it is, kube-proxy stops", async () => {
  await agent("control-plane", true, "");
  await agent("worker-1", false, "it restarts");
  const step = planSteps(plan).find(({ kind }) => kind === "services-handover")!;
  const stop = new AbortController();
  const contextOf = (before: any): StepContext => ({
    ...{
      kube,
      plan,
      step,
      before,
      migration: "m",
      notes: {},
      tools: { nodeTask: { run: async () => null } },
    },
    signal: stop.signal,
    remember: async () => undefined,
    nodes: () => ({ old: [], switched: [] }),
    endedAt: () => undefined,
    report: () => undefined,
  });
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
