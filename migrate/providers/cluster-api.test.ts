// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { type KubeClient, resourcePath } from "../../lib/kube.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import { waitFor } from "../../lib/wait.ts";
import { startTestApiServer } from "../../test/clusters/sandbox/apiserver/testing.ts";
import { createProvider } from "./index.ts";
import { createNode, keepsPodsAway, nodePath, type ProviderWorld, startWorld } from "./testing.ts";
import { clusterApiDefinitions } from "./testing-definitions.ts";

type Version = "v1beta1" | "v1beta2";
const group = "cluster.x-k8s.io";
const nameLabel = `${group}/deployment-name`;
const signal = AbortSignal.timeout(60_000);
let world: ProviderWorld;
afterEach(async () => await world?.stop());

const path = (version: Version, plural: string, name?: string): string =>
  resourcePath(`${group}/${version}`, plural, "default", name);
const templates = (version: Version, name?: string): string =>
  resourcePath(`bootstrap.${group}/${version}`, "kubeadmconfigtemplates", "default", name);

/** Makes and deletes Machines and their nodes until each MachineDeployment has what it wants. */
function controller(version: Version): (kube: KubeClient) => Promise<void> {
  let serial = 0;
  return async (kube) => {
    const machines = (await kube.list(path(version, "machines"))).items;
    const { items } = await kube.list(path(version, "machinedeployments"));
    const names = new Set(items.map(({ metadata }) => metadata.name));
    for (const machine of machines)
      if (!names.has(machine.metadata.labels?.[nameLabel])) await remove(kube, version, machine);
    for (const deployment of items) {
      const own = machines.filter(
        ({ metadata }) => metadata.labels?.[nameLabel] === deployment.metadata.name,
      );
      const marked = own.filter(({ metadata }) => `${group}/delete-machine` in (metadata.annotations ?? {}));
      const extra = own.length - deployment.spec.replicas;
      for (const machine of [...marked, ...own].slice(0, Math.max(0, extra)))
        await remove(kube, version, machine);
      if (extra < 0) await grow(kube, version, deployment, `${deployment.metadata.name}-${++serial}`);
    }
  };
}

async function remove(kube: KubeClient, version: Version, machine: KubeObject): Promise<void> {
  await kube.deleteIfExists(nodePath(machine.status?.nodeRef?.name));
  await kube.deleteIfExists(path(version, "machines", machine.metadata.name));
}

async function grow(kube: KubeClient, version: Version, deployment: KubeObject, name: string): Promise<void> {
  const { metadata, spec } = deployment.spec.template;
  await kube.create(path(version, "machines"), {
    apiVersion: `${group}/${version}`,
    kind: "Machine",
    metadata: { name, labels: metadata.labels },
    spec,
  });
  const ref = spec.bootstrap.configRef;
  const bootstrap =
    ref?.kind === "KubeadmConfigTemplate" ? await kube.get(templates(version, ref.name)) : undefined;
  const taints = [
    ...(bootstrap?.spec.template.spec.joinConfiguration?.nodeRegistration?.taints ?? []),
    ...(spec.taints ?? []).map(({ key, effect }: { key: string; effect: string }) => ({ key, effect })),
  ];
  const annotations = { [`${group}/cluster-name`]: "prod", [`${group}/cluster-namespace`]: "default" };
  await createNode(kube, `node-${name}`, { annotations, taints });
  const status = { nodeRef: { apiVersion: "v1", kind: "Node", name: `node-${name}` }, phase: "Running" };
  await kube.patch(`${path(version, "machines", name)}/status`, "merge", { status });
}

async function createDeployment(
  kube: KubeClient,
  version: Version,
  replicas: number,
  { kind = "KubeadmConfigTemplate", metadata = {} }: { kind?: string; metadata?: object } = {},
): Promise<void> {
  await kube.create(templates(version), {
    apiVersion: `bootstrap.${group}/${version}`,
    kind: "KubeadmConfigTemplate",
    metadata: { name: "workers-boot" },
    spec: { template: { spec: { joinConfiguration: { nodeRegistration: { name: "{{ ds.name }}" } } } } },
  });
  const from = (apiGroup: string) =>
    version === "v1beta1" ? { apiVersion: `${apiGroup}/v1beta1` } : { apiGroup };
  const labels = { [nameLabel]: "workers", [`${group}/cluster-name`]: "prod", team: "a" };
  await kube.create(path(version, "machinedeployments"), {
    apiVersion: `${group}/${version}`,
    kind: "MachineDeployment",
    metadata: { name: "workers", ...metadata },
    spec: {
      clusterName: "prod",
      replicas,
      selector: { matchLabels: { [nameLabel]: "workers" } },
      template: {
        metadata: { labels },
        spec: {
          clusterName: "prod",
          version: "v1.33.1",
          bootstrap: { configRef: { ...from(`bootstrap.${group}`), kind, name: "workers-boot" } },
          infrastructureRef: { ...from(`infrastructure.${group}`), kind: "XMachineTemplate", name: "large" },
        },
      },
    },
  });
}

async function nodesOf(deployment: string, count: number): Promise<string[]> {
  return await waitFor(
    `${count} nodes of ${deployment}`,
    async () => {
      const names = (await world.nodes()).map(({ metadata }) => metadata.name!);
      const own = names.filter((name) => new RegExp(`^node-${deployment}-\\d+$`).test(name));
      return own.length === count ? own : undefined;
    },
    { timeoutMs: 20_000, intervalMs: 30 },
  );
}

for (const version of ["v1beta1", "v1beta2"] as const)
  test(`${version}: a copy with the taint, one Machine less for each node, all of it safe to repeat`, async () => {
    world = await startWorld(await startTestApiServer(), clusterApiDefinitions(version), controller(version));
    const { kube, setup } = world;
    const scaler = { "cluster.x-k8s.io/cluster-api-autoscaler-node-group-min-size": "1" };
    await createDeployment(kube, version, 3, { metadata: { annotations: scaler } });
    const old = await nodesOf("workers", 3);
    const provider = createProvider("cluster-api", setup)!;
    const ask = { group: "to-shunt", signal };

    assert.equal(await provider.check(old), undefined);
    assert.equal(await kube.find(path(version, "machinedeployments", "workers-shunt")), undefined);
    await provider.addNodes({ ...ask, old });
    await provider.addNodes({ ...ask, old });
    const fresh = await nodesOf("workers-shunt", 3);
    for (const name of fresh) assert.ok(await keepsPodsAway(kube, name), name);
    const copy = await kube.get(path(version, "machinedeployments", "workers-shunt"));
    assert.equal(copy.spec.template.metadata.labels.team, "a");
    assert.equal(copy.spec.selector.matchLabels[nameLabel], "workers-shunt");
    assert.equal(copy.spec.template.spec.version, "v1.33.1");
    assert.equal(copy.metadata.annotations, undefined);
    // The autoscaler must not fill the old one again.
    const during = await kube.get(path(version, "machinedeployments", "workers"));
    assert.equal(
      during.metadata.annotations!["cluster.x-k8s.io/cluster-api-autoscaler-node-group-min-size"],
      undefined,
    );

    await provider.removeNode({ ...ask, node: old[1]! });
    await provider.removeNode({ ...ask, node: old[1]! });
    assert.deepEqual((await nodesOf("workers", 2)).sort(), [old[0], old[2]].sort());
    assert.match(await provider.removeNode({ ...ask, node: old[1]! }), /no Machine any more/);
    await Promise.all([old[0]!, old[2]!].map((node) => provider.removeNode({ ...ask, node })));
    await nodesOf("workers", 0);
    assert.equal((await nodesOf("workers-shunt", 3)).length, 3);

    await provider.settleGroup!(ask);
    const settled = await kube.get(path(version, "machinedeployments", "workers-shunt"));
    assert.deepEqual(settled.metadata.annotations, scaler);
  });

test("the group goes with its template, and the autoscaler may work again", async () => {
  world = await startWorld(
    await startTestApiServer(),
    clusterApiDefinitions("v1beta1"),
    controller("v1beta1"),
  );
  const { kube, setup } = world;
  const scaler = { "cluster.x-k8s.io/cluster-api-autoscaler-node-group-max-size": "9" };
  await createDeployment(kube, "v1beta1", 1, { metadata: { annotations: scaler } });
  const old = await nodesOf("workers", 1);
  const provider = createProvider("cluster-api", setup)!;
  await provider.addNodes({ group: "g", old, signal });
  await nodesOf("workers-shunt", 1);
  assert.match(await provider.removeGroup({ group: "g", signal }), /workers-shunt/);
  await provider.removeGroup({ group: "g", signal });
  await nodesOf("workers-shunt", 0);
  assert.equal(await kube.find(templates("v1beta1", "workers-shunt")), undefined);
  const back = await kube.get(path("v1beta1", "machinedeployments", "workers"));
  assert.deepEqual(back.metadata.annotations, scaler);
  assert.deepEqual(await nodesOf("workers", 1), old);
});

test("a bootstrap of another kind needs taints of Machines, and is refused where there are none", async () => {
  world = await startWorld(
    await startTestApiServer(),
    clusterApiDefinitions("v1beta2", true),
    controller("v1beta2"),
  );
  await createDeployment(world.kube, "v1beta2", 1, { kind: "TalosConfigTemplate" });
  const old = await nodesOf("workers", 1);
  const provider = createProvider("cluster-api", world.setup)!;
  assert.equal(await provider.check(old), undefined);
  await provider.addNodes({ group: "g", old, signal });
  const [name] = await nodesOf("workers-shunt", 1);
  assert.ok(await keepsPodsAway(world.kube, name!));
  await world.stop();

  world = await startWorld(
    await startTestApiServer(),
    clusterApiDefinitions("v1beta2"),
    controller("v1beta2"),
  );
  await createDeployment(world.kube, "v1beta2", 1, { kind: "TalosConfigTemplate" });
  const nodes = await nodesOf("workers", 1);
  const refusing = createProvider("cluster-api", world.setup)!;
  assert.match((await refusing.check(nodes))!, /cannot keep pods away/);
  assert.equal(await world.kube.find(path("v1beta2", "machinedeployments", "workers-shunt")), undefined);
});

test("what it cannot work with is said before anything is changed", async () => {
  world = await startWorld(
    await startTestApiServer(),
    clusterApiDefinitions("v1beta1"),
    controller("v1beta1"),
  );
  const { kube, setup } = world;
  const provider = createProvider("cluster-api", setup)!;
  await createNode(kube, "stranger");
  assert.match((await provider.check(["stranger"]))!, /no Machine has node stranger/);
  const labels = { "topology.cluster.x-k8s.io/owned": "" };
  await createDeployment(kube, "v1beta1", 1, { metadata: { labels } });
  const old = await nodesOf("workers", 1);
  assert.match((await provider.check(old))!, /topology/);
  const elsewhere = createProvider("cluster-api", { ...setup, options: { cluster: "other" } })!;
  assert.match((await elsewhere.check(old))!, /no Machine has node/);
});

test("a cluster without Cluster API is told where to look", async () => {
  world = await startWorld(await startTestApiServer(), [], async () => undefined);
  const provider = createProvider("cluster-api", world.setup)!;
  assert.match((await provider.check(["n"]))!, /--provider-kubeconfig/);
});
