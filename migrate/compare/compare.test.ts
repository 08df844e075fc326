// SPDX-License-Identifier: Apache-2.0
// Two API servers of ours: the old cluster and the one that is to take its place.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { type KubeClient, resourcePath } from "../../lib/kube.ts";
import { waitFor } from "../../lib/wait.ts";
import { startTestApiServer, type TestApiServer } from "../../test/clusters/sandbox/apiserver/testing.ts";
import { connectWith, credentialsOf } from "../engine/testing.ts";
import { type Comparison, type ComparisonOptions, compareClusters, formatComparison } from "./index.ts";
import { agentDefinition, application, make, nodeWithAgent, pathOf, widget } from "./testing.ts";

const servers: TestApiServer[] = [];
let source: KubeClient;
let target: KubeClient;

async function cluster(): Promise<KubeClient> {
  const server = await startTestApiServer();
  servers.push(server);
  const kube = connectWith(credentialsOf(server.kubeconfig));
  await make(kube, agentDefinition());
  for (const object of application()) await make(kube, object);
  for (const path of ["/apis/acme.example/v1/widgets", "/apis/shunt.dev/v1alpha1/nodes"])
    await waitFor(`${path} to be served`, async () => (await kube.find(path)) !== undefined, {
      timeoutMs: 30_000,
    });
  await make(kube, widget(1));
  return kube;
}

before(async () => {
  [source, target] = await Promise.all([cluster(), cluster()]);
  for (const object of nodeWithAgent("new-1")) await make(target, object);
});

after(async () => {
  source?.close();
  target?.close();
  await Promise.all(servers.map((server) => server.stop()));
});

const compare = (options: ComparisonOptions = {}): Promise<Comparison> =>
  compareClusters(source, target, { pageSize: 3, ...options });

const worst = ({ findings }: Comparison): string[] =>
  findings.filter(({ severity }) => severity !== "info").map(({ id, object }) => `${id} ${object}`);

/** Changes an object of the new cluster for the time of `work`. */
async function changed(path: string, patch: object, back: object, work: () => Promise<void>): Promise<void> {
  await target.patch(path, "merge", patch);
  try {
    await work();
  } finally {
    await target.patch(path, "merge", back);
  }
}

test("two clusters with the same application agree, whatever their servers filled in", async () => {
  const comparison = await compare();
  assert.deepEqual(worst(comparison), []);
  assert.equal(comparison.ready, true);
  const counts = new Map(
    comparison.kinds.map(({ kind, source: a, target: b, same }) => [kind, [a, b, same]]),
  );
  for (const kind of ["Deployment", "Service", "ConfigMap", "Secret", "NetworkPolicy", "Ingress", "Widget"])
    assert.deepEqual(counts.get(kind), [1, 1, 1], kind);
  // Networks' own definitions, and the agent's, are nobody's business here.
  assert.deepEqual(counts.get("CustomResourceDefinition"), [1, 1, 1]);
  assert.ok(counts.get("ClusterRole")![0]! >= 1);
  // The addresses and node ports that each server chose are not the same.
  const path = resourcePath("v1", "services", "shop", "web");
  const [here, there] = [await source.get(path), await target.get(path)];
  assert.notEqual(here.metadata.uid, there.metadata.uid);
  assert.match(formatComparison(comparison), /Deployment +1 +1 +1\n.*is ready to take the traffic\.\n$/s);
});

const shop = (apiVersion: string, plural: string, name: string) =>
  resourcePath(apiVersion, plural, "shop", name);

test("an object that differs blocks, with the fields", async () => {
  const path = shop("apps/v1", "deployments", "web");
  await changed(path, { spec: { replicas: 3 } }, { spec: { replicas: 2 } }, async () => {
    const comparison = await compare();
    assert.equal(comparison.ready, false);
    const found = comparison.findings.find(({ id }) => id === "object-differs");
    assert.equal(found?.object, "Deployment shop/web");
    assert.match(found!.problem, /spec\.replicas: 2, there 3/);
    assert.match(formatComparison(comparison), /is not ready to take the traffic/);
  });
});

test("a Secret is compared by its content, of which nothing is shown", async () => {
  const path = shop("v1", "secrets", "password");
  const of = (text: string) => ({ data: { password: Buffer.from(text).toString("base64") } });
  await changed(path, of("battery staple"), of("correct horse"), async () => {
    const comparison = await compare();
    assert.deepEqual(worst(comparison), ["object-differs Secret shop/password"]);
    const text = JSON.stringify(comparison) + formatComparison(comparison);
    for (const word of ["battery", of("battery staple").data.password, of("correct horse").data.password])
      assert.doesNotMatch(text, new RegExp(word.replaceAll("=", "")));
    assert.match(comparison.findings[0]!.problem, /data\.password: another value \(not shown\)/);
  });
});

test("custom objects are compared too", async () => {
  await changed(
    shop("acme.example/v1", "widgets", "one"),
    { spec: { size: 2 } },
    { spec: { size: 1 } },
    async () => assert.deepEqual(worst(await compare()), ["object-differs Widget shop/one"]),
  );
});

test("what an autoscaler sets may differ", async () => {
  const scaler = {
    apiVersion: "autoscaling/v2",
    kind: "HorizontalPodAutoscaler",
    metadata: { name: "web", namespace: "shop" },
    spec: { maxReplicas: 5, scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name: "web" } },
  };
  for (const kube of [source, target]) await make(kube, scaler);
  await changed(
    shop("apps/v1", "deployments", "web"),
    { spec: { replicas: 3 } },
    { spec: { replicas: 2 } },
    async () => assert.doesNotMatch(worst(await compare()).join(), /object-differs/),
  );
  for (const kube of [source, target]) await kube.deleteIfExists(pathOf(scaler, "web"));
});

test("a missing object blocks until it is ignored, an additional one is told", async () => {
  const config = (name: string) => ({
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name, namespace: "shop" },
  });
  await make(source, config("old-only"));
  await make(target, config("new-only"));
  const comparison = await compare();
  assert.deepEqual(worst(comparison), ["object-missing ConfigMap shop/old-only"]);
  assert.ok(
    comparison.findings.some(({ object, severity }) => object.endsWith("new-only") && severity === "info"),
  );
  assert.equal((await compare({ ignore: ["ConfigMap shop/old-*"] })).ready, true);
  assert.equal((await compare({ ignore: ["ConfigMap shop/old-"] })).ready, false);
  await source.deleteIfExists(pathOf(config("old-only"), "old-only"));
  await target.deleteIfExists(pathOf(config("new-only"), "new-only"));
});

const unready: [what: string, path: () => string, patch: object, back: object, finding: string][] = [
  [
    "a node that is not Ready",
    () => "/api/v1/nodes/new-1/status",
    { status: { conditions: [{ type: "Ready", status: "False" }] } },
    { status: { conditions: [{ type: "Ready", status: "True" }] } },
    "target-node-not-ready Node new-1",
  ],
  [
    "an agent in standby",
    () => "/apis/shunt.dev/v1alpha1/nodes/new-1",
    { status: { layers: { podNetwork: { mode: "standby" } } } },
    { status: { layers: { podNetwork: { mode: "active" } } } },
    "target-agent-not-active ShuntNode new-1",
  ],
  [
    "a Deployment whose pods are not ready",
    () => `${shop("apps/v1", "deployments", "web")}/status`,
    { status: { availableReplicas: 1 } },
    { status: { availableReplicas: 2 } },
    "target-workload-not-ready Deployment shop/web",
  ],
  [
    "a Service with nobody behind it",
    () => shop("discovery.k8s.io/v1", "endpointslices", "web-1"),
    { endpoints: [{ addresses: ["10.244.1.7"], conditions: { ready: false } }] },
    { endpoints: [{ addresses: ["10.244.1.7"], conditions: { ready: true } }] },
    "target-service-without-endpoints Service shop/web",
  ],
  [
    "an Ingress without an address",
    () => `${shop("networking.k8s.io/v1", "ingresses", "web")}/status`,
    { status: { loadBalancer: null } },
    { status: { loadBalancer: { ingress: [{ ip: "192.0.2.81" }] } } },
    "target-without-address Ingress shop/web",
  ],
  [
    "a volume that is lost",
    () => `${shop("v1", "persistentvolumeclaims", "data")}/status`,
    { status: { phase: "Lost" } },
    { status: { phase: "Bound" } },
    "target-volume-lost PersistentVolumeClaim shop/data",
  ],
];

for (const [what, path, patch, back, finding] of unready)
  test(`${what} makes the new cluster not ready`, async () => {
    await changed(path(), patch, back, async () => {
      const comparison = await compare();
      assert.ok(worst(comparison).includes(finding), worst(comparison).join(", "));
      assert.equal(comparison.ready, false);
    });
    assert.equal((await compare()).ready, true);
  });

test("a cluster without the agent is not ready, and none is the new one of itself", async () => {
  const other = await compareClusters(target, source);
  assert.ok(worst(other).includes("target-without-agent cluster"));
  assert.ok(worst(other).includes("target-without-nodes cluster"));
  await assert.rejects(compareClusters(source, source), { code: "SameCluster", exitCode: 2 });
});

test("what may not be read is not taken for agreed", async () => {
  // Which of the two was up first is not said.
  const server = servers.find(({ port }) => target.server.endsWith(`:${port}`))!;
  const reader = connectWith(credentialsOf(await server.kubeconfigFor("nobody-in-particular")));
  const comparison = await compareClusters(source, reader);
  reader.close();
  assert.equal(comparison.ready, false);
  assert.ok(worst(comparison).some((line) => /^not-readable new cluster, .*secrets/.test(line)));
});
