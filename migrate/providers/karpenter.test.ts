// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { type KubeClient, resourcePath } from "../../lib/kube.ts";
import { waitFor } from "../../lib/wait.ts";
import { startTestApiServer } from "../../test/clusters/sandbox/apiserver/testing.ts";
import { createProvider } from "./index.ts";
import { createNode, keepsPodsAway, nodePath, type ProviderWorld, startWorld } from "./testing.ts";
import { karpenterDefinitions } from "./testing-definitions.ts";

const pools = (name?: string): string => resourcePath("karpenter.sh/v1", "nodepools", undefined, name);
const claims = (name?: string): string => resourcePath("karpenter.sh/v1", "nodeclaims", undefined, name);
const pods = (name?: string): string => resourcePath("v1", "pods", "kube-system", name);
const ask = { group: "to-shunt", signal: AbortSignal.timeout(60_000) };
let world: ProviderWorld;
afterEach(async () => await world?.stop());

const spec = {
  requirements: [{ key: "kubernetes.io/arch", operator: "In", values: ["amd64"] }],
  nodeClassRef: { group: "karpenter.k8s.aws", kind: "EC2NodeClass", name: "default" },
};

/** A NodeClaim and a node for every pod that waits, from the heaviest pool that may make one; a node ends with its claim. */
async function controller(kube: KubeClient): Promise<void> {
  const all = (await kube.list(claims())).items;
  const named = new Set(all.map(({ status }) => status?.nodeName));
  for (const { metadata } of (await kube.list(nodePath())).items)
    if (metadata.labels?.["karpenter.sh/nodepool"] !== undefined && !named.has(metadata.name))
      await kube.deleteIfExists(nodePath(metadata.name));
  const { items } = await kube.list(pools());
  for (const pod of (await kube.list(resourcePath("v1", "pods"))).items) {
    if (pod.spec?.nodeName !== undefined) continue;
    const fits = items
      .filter(({ spec }) => spec.limits?.cpu !== "0")
      .filter(({ spec }) =>
        Object.entries(pod.spec?.nodeSelector ?? {}).every(
          ([key, value]) => spec.template.metadata?.labels?.[key] === value,
        ),
      )
      .sort((a, b) => (b.spec.weight ?? 0) - (a.spec.weight ?? 0));
    const [pool] = fits;
    if (pool === undefined) continue;
    await makeNode(kube, pool.metadata.name!, `${pool.metadata.name}-${pod.metadata.uid!.slice(0, 8)}`);
    await kube.create(`${resourcePath("v1", "pods", pod.metadata.namespace, pod.metadata.name)}/binding`, {
      apiVersion: "v1",
      kind: "Binding",
      metadata: { name: pod.metadata.name },
      target: { kind: "Node", name: `node-${pool.metadata.name}-${pod.metadata.uid!.slice(0, 8)}` },
    });
  }
}

async function makeNode(kube: KubeClient, pool: string, name: string): Promise<void> {
  const { template } = (await kube.get(pools(pool))).spec;
  await createNode(kube, `node-${name}`, {
    labels: { ...template.metadata?.labels, "karpenter.sh/nodepool": pool },
    taints: template.spec.startupTaints ?? [],
  });
  await kube.create(claims(), {
    apiVersion: "karpenter.sh/v1",
    kind: "NodeClaim",
    metadata: { name, labels: { "karpenter.sh/nodepool": pool } },
    spec,
  });
  await kube.patch(`${claims(name)}/status`, "merge", { status: { nodeName: `node-${name}` } });
}

async function createPool(kube: KubeClient, changes: object = {}): Promise<void> {
  await kube.create(pools(), {
    apiVersion: "karpenter.sh/v1",
    kind: "NodePool",
    metadata: { name: "default" },
    spec: {
      limits: { cpu: "100", memory: "400Gi" },
      disruption: {
        consolidationPolicy: "WhenEmptyOrUnderutilized",
        consolidateAfter: "1m",
        budgets: [{ nodes: "20%" }],
      },
      template: { metadata: { labels: { team: "a" } }, spec },
      ...changes,
    },
  });
}

/** Two old nodes, one of them with a pod of 1.5 CPUs, and the agent's DaemonSet. */
async function start(changes: object = {}): Promise<string[]> {
  world = await startWorld(await startTestApiServer(), karpenterDefinitions(), async (kube) => {
    if (isReady) await controller(kube);
  });
  const { kube } = world;
  let isReady = false;
  await createPool(kube, changes);
  await makeNode(kube, "default", "default-1");
  await makeNode(kube, "default", "default-2");
  isReady = true;
  await kube.create(resourcePath("v1", "serviceaccounts", "kube-system"), {
    apiVersion: "v1",
    kind: "ServiceAccount",
    metadata: { name: "default" },
  });
  const container = { name: "agent", image: "example.test/agent:1" };
  await kube.create(pods(), {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "app" },
    spec: {
      nodeName: "node-default-1",
      containers: [{ ...container, resources: { requests: { cpu: "1500m", memory: "2Gi" } } }],
    },
  });
  await kube.create(resourcePath("apps/v1", "daemonsets", "kube-system"), {
    apiVersion: "apps/v1",
    kind: "DaemonSet",
    metadata: { name: "shunt-agent" },
    spec: {
      selector: { matchLabels: { a: "b" } },
      template: { metadata: { labels: { a: "b" } }, spec: { containers: [container] } },
    },
  });
  return ["node-default-1", "node-default-2"];
}

async function nodesOf(pool: string, count: number): Promise<string[]> {
  return await waitFor(
    `${count} nodes of ${pool}`,
    async () => {
      const own = (await world.nodes()).filter(
        ({ metadata }) => metadata.labels?.["karpenter.sh/nodepool"] === pool,
      );
      return own.length === count ? own.map(({ metadata }) => metadata.name!) : undefined;
    },
    { timeoutMs: 20_000, intervalMs: 30 },
  );
}

test("placeholders bring as many nodes with the taint, and the old NodePool makes no more", async () => {
  const old = await start();
  const { kube, setup } = world;
  const provider = createProvider("karpenter", setup)!;
  assert.equal(await provider.check(old), undefined);
  await provider.addNodes({ ...ask, old });
  await provider.addNodes({ ...ask, old });
  const fresh = await nodesOf("default-shunt", 2);
  for (const name of fresh) assert.ok(await keepsPodsAway(kube, name), name);
  assert.deepEqual((await kube.get(pools("default"))).spec.limits, { cpu: "0", memory: "400Gi" });
  const copy = await kube.get(pools("default-shunt"));
  assert.deepEqual(copy.spec.limits, { cpu: "100", memory: "400Gi" });
  assert.equal(copy.spec.weight, 10);
  assert.deepEqual(copy.spec.disruption.budgets, [{ nodes: "0" }]);
  assert.equal(copy.spec.template.metadata.labels.team, "a");
  const { items } = await kube.list(pods(), { labelSelector: "shunt.dev/placeholder=to-shunt" });
  const requests = items.map(({ spec }) => spec.containers[0].resources.requests);
  assert.deepEqual(
    requests.sort((a, b) => a.cpu.length - b.cpu.length),
    [
      { cpu: "10m", memory: "16Mi" },
      { cpu: "1500m", memory: "2Gi" },
    ],
  );
  assert.ok(items.every(({ spec }) => spec.priority === -1_000_000));

  await provider.removeNode({ ...ask, node: old[0]! });
  assert.deepEqual(await nodesOf("default", 1), [old[1]]);
  assert.match(await provider.removeNode({ ...ask, node: old[0]! }), /no NodeClaim any more/);
  await provider.removeNode({ ...ask, node: old[1]! });
  await nodesOf("default", 0);

  await provider.settleGroup!(ask);
  assert.equal((await kube.list(pods(), { labelSelector: "shunt.dev/placeholder" })).items.length, 0);
  const settled = await kube.get(pools("default-shunt"));
  assert.deepEqual(settled.spec.disruption.budgets, [{ nodes: "20%" }]);
  assert.equal(settled.spec.disruption.consolidateAfter, "1m");
  await provider.settleGroup!(ask);
});

test("going back deletes the copy and gives the old NodePool its limits, those that it had", async () => {
  const old = await start();
  const { kube, setup } = world;
  const provider = createProvider("karpenter", setup)!;
  await provider.addNodes({ ...ask, old });
  await nodesOf("default-shunt", 2);
  await provider.removeGroup(ask);
  await provider.removeGroup(ask);
  assert.equal(await kube.find(pools("default-shunt")), undefined);
  const back = await kube.get(pools("default"));
  assert.deepEqual(back.spec.limits, { cpu: "100", memory: "400Gi" });
  assert.deepEqual(back.metadata.annotations ?? {}, {});
  assert.equal((await kube.list(pods(), { labelSelector: "shunt.dev/placeholder" })).items.length, 0);
});

test("a NodePool without limits has none again", async () => {
  const old = await start({ limits: undefined });
  const provider = createProvider("karpenter", world.setup)!;
  await provider.addNodes({ ...ask, old });
  assert.deepEqual((await world.kube.get(pools("default"))).spec.limits, { cpu: "0" });
  assert.equal((await world.kube.get(pools("default-shunt"))).spec.limits, undefined);
  await provider.removeGroup(ask);
  assert.equal((await world.kube.get(pools("default"))).spec.limits, undefined);
});

test("nodes of others and pools of fixed size are refused", async () => {
  const old = await start({ replicas: 2 });
  const provider = createProvider("karpenter", world.setup)!;
  assert.match((await provider.check(old))!, /spec\.replicas/);
  await createNode(world.kube, "static");
  assert.match((await provider.check([...old, "static"]))!, /did not make static/);
});
