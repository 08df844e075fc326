// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { KubeObject } from "../../../../lib/kube-object.ts";
import { waitFor } from "../../../../lib/wait.ts";
import { pathOf, resources } from "./resources.ts";
import { startTestControlPlane, type TestControlPlane } from "./testing.ts";

let plane: TestControlPlane;
const namespace = "default";
const container = (image: string) => [{ name: "main", image, ports: [{ name: "web", containerPort: 80 }] }];
const deployment = (name: string, image: string, replicas: number, spec = {}): KubeObject => ({
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { name, namespace },
  spec: {
    replicas,
    selector: { matchLabels: { app: name } },
    template: { metadata: { labels: { app: name } }, spec: { containers: container(image) } },
    ...spec,
  },
});
const podsOf =
  (app: string) =>
  (pod: KubeObject): boolean =>
    pod.metadata.labels?.app === app;

before(async () => {
  plane = await startTestControlPlane();
  for (const name of ["n1", "n2", "n3"]) await plane.kubelets.addNode(name);
});
after(() => plane?.stop());

test("every node gets pod networks of its own, one a family", async () => {
  const nodes = await plane.untilList(pathOf(resources.nodes), "pod networks", (items) =>
    items.every((node) => node.spec.podCIDRs?.length === 2),
  );
  assert.equal(new Set(nodes.flatMap((node) => node.spec.podCIDRs)).size, 6);
  for (const node of nodes) {
    assert.match(node.spec.podCIDR, /^10\.244\.\d\.0\/24$/);
    assert.match(node.spec.podCIDRs[1], /^fd10:244:.*\/64$/);
  }
});

test("a new namespace gets its default ServiceAccount, again when it is deleted", async () => {
  await plane.apply({ apiVersion: "v1", kind: "Namespace", metadata: { name: "fresh" } });
  const path = pathOf(resources.serviceAccounts, "fresh", "default");
  const first = await plane.until(path, "the ServiceAccount", () => true);
  await plane.client.delete(path);
  await plane.until(path, "it again", (account) => account.metadata.uid !== first.metadata.uid);
});

test("a Deployment rolls out, updates and can be looked up in its history", async () => {
  const path = pathOf(resources.deployments, namespace, "web");
  await plane.apply(deployment("web", "one", 3));
  const isDone = (object: KubeObject) =>
    object.status?.observedGeneration === object.metadata.generation &&
    object.status.updatedReplicas === 3 &&
    object.status.availableReplicas === 3 &&
    object.status.replicas === 3;
  await plane.until(path, "the first rollout", isDone);
  await plane.apply(deployment("web", "two", 3));
  const after = await plane.until(path, "the second rollout", isDone);
  assert.equal(after.metadata.annotations?.["deployment.kubernetes.io/revision"], "2");
  const progressing = after.status.conditions.find(({ type }: any) => type === "Progressing");
  assert.equal(progressing.reason, "NewReplicaSetAvailable");
  const { items } = await plane.client.list(pathOf(resources.replicaSets, namespace));
  const revisions = items
    .filter(podsOf("web"))
    .map((set) => [set.metadata.annotations?.["deployment.kubernetes.io/revision"], set.spec.replicas]);
  assert.deepEqual(revisions.sort(), [
    ["1", 0],
    ["2", 3],
  ]);
});

test("deleting a Deployment takes its ReplicaSets and pods with it", async () => {
  await plane.apply(deployment("brief", "one", 2));
  await plane.untilList(pathOf(resources.pods, namespace), "pods", (items) => items.some(podsOf("brief")));
  await plane.client.delete(pathOf(resources.deployments, namespace, "brief"));
  const isGone = (items: KubeObject[]) => !items.some(podsOf("brief"));
  await plane.untilList(pathOf(resources.replicaSets, namespace), "no ReplicaSet", isGone);
  await plane.untilList(pathOf(resources.pods, namespace), "no pod", isGone);
});

test("foreground deletion removes the owner last", async () => {
  await plane.apply(deployment("front", "one", 1));
  await plane.untilList(pathOf(resources.pods, namespace), "a pod", (items) => items.some(podsOf("front")));
  const path = pathOf(resources.deployments, namespace, "front");
  await plane.client.delete(path, { propagationPolicy: "Foreground" });
  await waitFor("the Deployment's end", async () => (await plane.client.find(path)) === undefined, {
    timeoutMs: 20_000,
  });
  const { items } = await plane.client.list(pathOf(resources.pods, namespace));
  assert.equal(items.some(podsOf("front")), false);
});

test("orphan deletion leaves dependents without owner", async () => {
  await plane.apply(deployment("loose", "one", 1));
  const sets = pathOf(resources.replicaSets, namespace);
  await plane.untilList(sets, "its ReplicaSet", (items) => items.some(podsOf("loose")));
  const path = pathOf(resources.deployments, namespace, "loose");
  await plane.client.delete(path, { propagationPolicy: "Orphan" });
  const left = await plane.untilList(sets, "a ReplicaSet of its own", (items) =>
    items.some((set) => podsOf("loose")(set) && (set.metadata.ownerReferences ?? []).length === 0),
  );
  assert.equal(left.filter(podsOf("loose")).length, 1);
  assert.equal(await plane.client.find(path), undefined);
});

test("a DaemonSet has one pod on every node, follows new nodes and rolls", async () => {
  const set = (image: string): KubeObject => ({
    apiVersion: "apps/v1",
    kind: "DaemonSet",
    metadata: { name: "everywhere", namespace },
    spec: {
      selector: { matchLabels: { app: "everywhere" } },
      template: { metadata: { labels: { app: "everywhere" } }, spec: { containers: container(image) } },
    },
  });
  const path = pathOf(resources.daemonSets, namespace, "everywhere");
  const isDone = (count: number) => (object: KubeObject) =>
    object.status?.observedGeneration === object.metadata.generation &&
    object.status.desiredNumberScheduled === count &&
    object.status.updatedNumberScheduled === count &&
    object.status.numberAvailable === count;
  await plane.apply(set("one"));
  await plane.until(path, "three daemons", isDone(3));
  await plane.kubelets.addNode("n4");
  await plane.until(path, "four daemons", isDone(4));
  await plane.apply(set("two"));
  await plane.until(path, "four new daemons", isDone(4));
  const { items } = await plane.client.list(pathOf(resources.pods, namespace));
  const nodes = items.filter(podsOf("everywhere")).map((pod) => pod.spec.nodeName);
  assert.deepEqual(nodes.sort(), ["n1", "n2", "n3", "n4"]);
  const { items: revisions } = await plane.client.list(pathOf(resources.controllerRevisions, namespace));
  assert.equal(revisions.filter((revision) => podsOf("everywhere")(revision)).length, 2);
});

test("a Service's endpoints follow its pods", async () => {
  await plane.apply(deployment("back", "one", 2));
  await plane.apply({
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "back", namespace },
    spec: { selector: { app: "back" }, ports: [{ name: "http", port: 8080, targetPort: "web" }] },
  });
  const slices = pathOf(resources.endpointSlices, namespace);
  const mine = (items: KubeObject[]) =>
    items.filter((slice) => slice.metadata.labels?.["kubernetes.io/service-name"] === "back");
  const ready = (items: KubeObject[]) =>
    mine(items)
      .flatMap((slice) => slice.endpoints ?? [])
      .filter((endpoint: any) => endpoint.conditions.ready);
  const filled = await plane.untilList(slices, "two endpoints", (items) => ready(items).length === 2);
  assert.deepEqual(mine(filled)[0]?.ports, [{ name: "http", port: 80, protocol: "TCP" }]);
  const classic = await plane.until(
    pathOf(resources.endpoints, namespace, "back"),
    "classic endpoints",
    (object) => object.subsets?.[0]?.addresses?.length === 2,
  );
  assert.equal(classic.subsets[0].ports[0].port, 80);
  await plane.client.patch(pathOf(resources.deployments, namespace, "back"), "merge", {
    spec: { replicas: 0 },
  });
  await plane.untilList(
    slices,
    "no endpoint",
    (items) => mine(items).length === 1 && ready(items).length === 0,
  );
});

test("a namespace goes with all that is in it", async () => {
  await plane.apply({ apiVersion: "v1", kind: "Namespace", metadata: { name: "doomed" } });
  const inside = deployment("inside", "one", 2);
  inside.metadata.namespace = "doomed";
  await plane.apply(inside);
  await plane.untilList(pathOf(resources.pods, "doomed"), "pods", (items) => items.length === 2);
  const path = pathOf(resources.namespaces, undefined, "doomed");
  await plane.client.delete(path);
  await waitFor("the namespace's end", async () => (await plane.client.find(path)) === undefined, {
    timeoutMs: 20_000,
  });
});
