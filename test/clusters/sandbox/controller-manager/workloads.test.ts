// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { KubeObject } from "../../../../lib/kube-object.ts";
import { waitFor } from "../../../../lib/wait.ts";
import { findCondition } from "./pod-state.ts";
import { pathOf, resources } from "./resources.ts";
import { startTestControlPlane, type TestControlPlane } from "./testing.ts";

let plane: TestControlPlane;
const namespace = "default";
const pods = pathOf(resources.pods, namespace);
const template = (app: string, image = "one", spec = {}) => ({
  metadata: { labels: { app } },
  spec: { containers: [{ name: "main", image }], ...spec },
});
const byApp = (items: KubeObject[], app: string): KubeObject[] =>
  items.filter((item) => item.metadata.labels?.app === app);
const isReadyTrue = (node: KubeObject): boolean => findCondition(node, "Ready")?.status === "True";

before(async () => {
  plane = await startTestControlPlane(["--node-monitor-grace-period=4s"]);
  for (const name of ["n1", "n2"]) await plane.kubelets.addNode(name);
});
after(() => plane?.stop());

test("a StatefulSet makes its pods in order and updates them from the last", async () => {
  const path = pathOf(resources.statefulSets, namespace, "db");
  const set = (image: string, partition = 0): KubeObject => ({
    apiVersion: "apps/v1",
    kind: "StatefulSet",
    metadata: { name: "db", namespace },
    spec: {
      replicas: 3,
      serviceName: "db",
      selector: { matchLabels: { app: "db" } },
      template: template("db", image),
      updateStrategy: { type: "RollingUpdate", rollingUpdate: { partition } },
    },
  });
  await plane.apply(set("one"));
  await plane.until(path, "three pods", (object) => object.status?.readyReplicas === 3);
  const made = byApp((await plane.client.list(pods)).items, "db");
  assert.deepEqual(made.map(({ metadata }) => metadata.name).sort(), ["db-0", "db-1", "db-2"]);
  assert.deepEqual([made[0]?.spec.subdomain, made[0]?.spec.hostname], ["db", made[0]?.metadata.name]);
  await plane.apply(set("two", 2));
  await plane.until(
    path,
    "one updated pod",
    ({ status, metadata }) =>
      status.observedGeneration === metadata.generation &&
      status.updatedReplicas === 1 &&
      status.readyReplicas === 3,
  );
  await plane.apply(set("two"));
  await plane.until(
    path,
    "all updated",
    ({ status }) => status.updatedReplicas === 3 && status.currentRevision === status.updateRevision,
  );
  const images = byApp((await plane.client.list(pods)).items, "db").map(
    (pod) => pod.spec.containers[0].image,
  );
  assert.deepEqual(images, ["two", "two", "two"]);
});

test("a Job runs until enough pods succeed, with an index for each", async () => {
  const path = pathOf(resources.jobs, namespace, "sum");
  plane.kubelets.statusOf = (pod) =>
    pod.metadata.labels?.app === "sum"
      ? { phase: "Succeeded", ready: false }
      : { phase: "Running", ready: true };
  await plane.apply({
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: { name: "sum", namespace },
    spec: {
      completions: 3,
      parallelism: 2,
      completionMode: "Indexed",
      template: template("sum", "one", { restartPolicy: "Never" }),
    },
  });
  const job = await plane.until(path, "completion", (object) => findCondition(object, "Complete"));
  assert.equal(job.status.succeeded, 3);
  assert.equal(job.status.completedIndexes, "0-2");
  assert.ok(job.status.completionTime);
});

test("a Job whose pods fail too often is Failed, and goes after its time to live", async () => {
  const path = pathOf(resources.jobs, namespace, "bad");
  plane.kubelets.statusOf = (pod) =>
    pod.metadata.labels?.app === "bad"
      ? { phase: "Failed", ready: false }
      : { phase: "Running", ready: true };
  await plane.apply({
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: { name: "bad", namespace },
    spec: {
      backoffLimit: 0,
      ttlSecondsAfterFinished: 3,
      template: template("bad", "one", { restartPolicy: "Never" }),
    },
  });
  const job = await plane.until(path, "failure", (object) => findCondition(object, "Failed"));
  assert.equal(findCondition(job, "Failed")?.reason, "BackoffLimitExceeded");
  await waitFor("its end", async () => (await plane.client.find(path)) === undefined, { timeoutMs: 20_000 });
});

test("a budget counts healthy pods, and an eviction beyond it is refused", async () => {
  await plane.apply({
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "front", namespace },
    spec: { replicas: 2, selector: { matchLabels: { app: "front" } }, template: template("front") },
  });
  await plane.apply({
    apiVersion: "policy/v1",
    kind: "PodDisruptionBudget",
    metadata: { name: "front", namespace },
    spec: { maxUnavailable: 1, selector: { matchLabels: { app: "front" } } },
  });
  const path = pathOf(resources.podDisruptionBudgets, namespace, "front");
  const settled = await plane.until(path, "room for one", ({ status }) => status?.disruptionsAllowed === 1);
  assert.deepEqual([settled.status.currentHealthy, settled.status.desiredHealthy], [2, 1]);
  const evict = (name: string) =>
    plane.client.create(`${pods}/${name}/eviction`, {
      apiVersion: "policy/v1",
      kind: "Eviction",
      metadata: { name, namespace },
    });
  // New pods stay unready, so that the budget stays used up.
  plane.kubelets.statusOf = () => ({ phase: "Running", ready: false });
  const [first, second] = byApp((await plane.client.list(pods)).items, "front");
  await evict(first!.metadata.name!);
  await assert.rejects(evict(second!.metadata.name!), /disruption budget|429/);
  plane.kubelets.statusOf = () => ({ phase: "Running", ready: true });
  await plane.untilList(pods, "a third pod", (items) =>
    byApp(items, "front").some(
      ({ metadata }) => ![first?.metadata.uid, second?.metadata.uid].includes(metadata.uid),
    ),
  );
  await plane.kubelets.refresh();
  await plane.until(path, "room again", ({ status }) => status.disruptionsAllowed === 1);
});

test("what fits nowhere says why, and is placed at once when a node comes", async () => {
  const affinity = { nodeSelector: { disk: "ssd" } };
  await plane.client.create(pods, {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "picky", namespace },
    spec: { ...template("picky").spec, ...affinity },
  });
  const path = pathOf(resources.pods, namespace, "picky");
  const refused = await plane.until(path, "a reason", (pod) => findCondition(pod, "PodScheduled"));
  assert.equal(
    findCondition(refused, "PodScheduled")?.message,
    "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector. " +
      "preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.",
  );
  await plane.untilList("/api/v1/namespaces/default/events", "a FailedScheduling event", (events) =>
    events.some((event) => event.reason === "FailedScheduling" && event.involvedObject.name === "picky"),
  );
  await plane.kubelets.addNode("n3", { disk: "ssd" });
  const placed = await plane.until(path, "a node", (pod) => pod.spec.nodeName);
  assert.equal(placed.spec.nodeName, "n3");
});

test("a silent node becomes Unknown and tainted, its pods leave Services and then the node", async () => {
  await plane.client.create(pods, {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "left", namespace },
    spec: {
      ...template("left").spec,
      nodeName: "n3",
      tolerations: [
        {
          key: "node.kubernetes.io/unreachable",
          operator: "Exists",
          effect: "NoExecute",
          tolerationSeconds: 1,
        },
        {
          key: "node.kubernetes.io/not-ready",
          operator: "Exists",
          effect: "NoExecute",
          tolerationSeconds: 1,
        },
      ],
    },
  });
  const pod = pathOf(resources.pods, namespace, "left");
  await plane.until(pod, "the pod", (object) => findCondition(object, "Ready")?.status === "True");
  plane.kubelets.silence("n3");
  const node = await plane.until(
    pathOf(resources.nodes, undefined, "n3"),
    "taints",
    (object) => !isReadyTrue(object) && object.spec.taints?.length === 2,
  );
  assert.equal(findCondition(node, "Ready")?.message, "Kubelet stopped posting node status.");
  const evicted = await plane.until(pod, "eviction", (object) => object.metadata.deletionTimestamp);
  assert.equal(findCondition(evicted, "Ready")?.status, "False");
  await plane.client.delete(pathOf(resources.nodes, undefined, "n3"));
  await waitFor("the pod's end", async () => (await plane.client.find(pod)) === undefined, {
    timeoutMs: 30_000,
  });
});
