// SPDX-License-Identifier: Apache-2.0
// When a new node counts, when an old one may go, and which pods are made anew.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { type KubeClient, resourcePath } from "../../lib/kube.ts";
import { connectKube } from "../../lib/kube-connect.ts";
import { waitFor } from "../../lib/wait.ts";
import { startTestApiServer, type TestApiServer } from "../../test/clusters/sandbox/apiserver/testing.ts";
import type { NodeGroupProvider } from "../model/tools.ts";
import { makePlan, planSteps } from "../plan/index.ts";
import { sampleInventory } from "../plan/testing.ts";
import type { StepContext } from "../step-kind.ts";
import { settleNode, unfitness } from "./new-nodes.ts";
import { removeNodeStep } from "./remove-node.ts";

const plan = makePlan(sampleInventory(1), { strategy: "blue-green" });
const nodes = (name?: string): string => resourcePath("v1", "nodes", undefined, name);
const agents = (name?: string): string => resourcePath("shunt.dev/v1alpha1", "nodes", undefined, name);
const pods = (name?: string): string => resourcePath("v1", "pods", "default", name);
let server: TestApiServer;
let kube: KubeClient;

beforeEach(async () => {
  server = await startTestApiServer();
  kube = await connectKube({ kubeconfig: server.kubeconfig });
  const open = { type: "object", "x-kubernetes-preserve-unknown-fields": true };
  await kube.create(resourcePath("apiextensions.k8s.io/v1", "customresourcedefinitions"), {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: "nodes.shunt.dev" },
    spec: {
      group: "shunt.dev",
      scope: "Cluster",
      names: { kind: "ShuntNode", listKind: "ShuntNodeList", plural: "nodes", singular: "shuntnode" },
      versions: [{ name: "v1alpha1", served: true, storage: true, schema: { openAPIV3Schema: open } }],
    },
  });
  await waitFor("the kind to be served", async () => (await kube.find(agents())) !== undefined, {
    timeoutMs: 10_000,
    intervalMs: 20,
  });
  await kube.create(resourcePath("v1", "serviceaccounts", "default"), {
    metadata: { name: "default", namespace: "default" },
  });
});
afterEach(async () => {
  kube?.close();
  await server?.stop();
});

interface Given {
  provider?: Partial<NodeGroupProvider>;
  /** UIDs that the agent says are its own. */
  endpoints?: () => string[];
}

function contextOf(step: string, { provider = {}, endpoints = () => [] }: Given = {}): StepContext {
  return {
    kube,
    plan,
    migration: "m",
    step: planSteps(plan).find(({ name }) => name === step) ?? planSteps(plan)[0]!,
    signal: AbortSignal.timeout(30_000),
    before: null,
    notes: {},
    remember: async () => undefined,
    nodes: () => ({ old: [], switched: [] }),
    endedAt: () => undefined,
    tools: {
      nodeTask: { run: async () => ({ uids: endpoints() }) },
      provider: async () => provider as NodeGroupProvider,
    },
    report: () => undefined,
  };
}

async function makePod(name: string, node: string, owner?: string): Promise<string> {
  const made = await kube.create(pods(), {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name,
      ...(owner === undefined
        ? {}
        : {
            ownerReferences: [{ apiVersion: "apps/v1", kind: owner, name: "o", uid: "u", controller: true }],
          }),
    },
    spec: { nodeName: node, terminationGracePeriodSeconds: 0, containers: [{ name: "c", image: "i" }] },
  });
  await kube.patch(`${pods(name)}/status`, "merge", { status: { phase: "Running", podIP: "10.244.9.9" } });
  return made.metadata.uid!;
}

test("a new node counts when it is Ready, its agent is active and has taken the taint away", async () => {
  const taints = [{ key: "node.shunt.dev/agent-not-ready", effect: "NoSchedule" }];
  await kube.create(nodes(), { metadata: { name: "new" }, spec: { taints } });
  const why = async () => await unfitness(kube, await kube.get(nodes("new")));
  assert.match((await why())!, /not Ready/);
  const conditions = [{ type: "Ready", status: "True" }];
  await kube.patch(`${nodes("new")}/status`, "merge", { status: { conditions } });
  assert.match((await why())!, /not started/);
  const layers = { podNetwork: { mode: "standby", cniConfiguration: false }, services: { mode: "handover" } };
  const status = { observedGeneration: 9, conditions, layers };
  await kube.create(agents(), {
    apiVersion: "shunt.dev/v1alpha1",
    kind: "ShuntNode",
    metadata: { name: "new" },
    status,
  });
  assert.match((await why())!, /pod network is standby/);
  const active = { podNetwork: { mode: "active", cniConfiguration: true }, services: { mode: "handover" } };
  await kube.patch(agents("new"), "merge", { status: { layers: active } });
  assert.match((await why())!, /not let pods in/);
  await kube.patch(nodes("new"), "merge", { spec: { taints: null } });
  await waitFor("the taint to be gone", async () => (await why()) === undefined, { timeoutMs: 5_000 });

  const stranger = await makePod("early", "new", "ReplicaSet");
  const own = await makePod("late", "new", "ReplicaSet");
  assert.equal(await settleNode(contextOf("add-group", { endpoints: () => [own] }), "new"), 1);
  assert.notEqual((await kube.find(pods("early")))?.metadata.uid, stranger);
  assert.equal((await kube.get(pods("late"))).metadata.uid, own);
});

test("an old node goes only when it is cordoned and empty; its agent's object goes with it", async () => {
  await kube.create(nodes(), { metadata: { name: "worker-1" }, spec: {} });
  await kube.create(agents(), {
    apiVersion: "shunt.dev/v1alpha1",
    kind: "ShuntNode",
    metadata: { name: "worker-1" },
  });
  const removed: string[] = [];
  const provider: Partial<NodeGroupProvider> = {
    async removeNode({ node }) {
      removed.push(node);
      await kube.deleteIfExists(nodes(node));
      return "asked for";
    },
  };
  const apply = () => removeNodeStep.apply(contextOf("remove-node/worker-1", { provider }));
  await assert.rejects(apply(), { code: "NodeInUse", message: /not cordoned/ });
  await kube.patch(nodes("worker-1"), "merge", { spec: { unschedulable: true } });
  await makePod("daemon", "worker-1", "DaemonSet");
  await makePod("app", "worker-1", "ReplicaSet");
  await assert.rejects(apply(), { code: "NodeInUse", message: /default\/app$/ });
  assert.deepEqual(removed, []);
  await kube.delete(pods("app"), { gracePeriodSeconds: 0 });
  assert.equal(await apply(), "gone");
  assert.equal(await kube.find(agents("worker-1")), undefined);
  // The operator was killed after the node had gone: the provider is asked again, and may finish its part.
  assert.equal(await apply(), "gone");
  assert.deepEqual(removed, ["worker-1", "worker-1"]);
});
