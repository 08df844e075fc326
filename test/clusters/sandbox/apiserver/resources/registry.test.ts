// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { bootstrapObjects } from "./bootstrap.ts";
import { Refusal } from "./resource.ts";
import { pod, TestStore } from "./test-store.ts";

test("every built-in kind has a model that can be read", () => {
  const { registry } = new TestStore();
  for (const resource of registry.all()) {
    const object = { apiVersion: "x", kind: resource.kind, metadata: { name: "a" }, noSuchField: 1 };
    assert.deepEqual(resource.decode!(object).unknown, ['unknown field "noSuchField"'], resource.kind);
  }
});

test("what the server creates at first passes its own checks", () => {
  const store = new TestStore();
  for (const object of bootstrapObjects()) {
    const { errors, unknown, mismatch } = store.write(object);
    assert.deepEqual(
      [errors, unknown, mismatch],
      [[], [], undefined],
      `${object.kind} ${object.metadata.name}`,
    );
  }
});

test("a new pod is completed as the real server completes it", () => {
  const { object, errors } = new TestStore().write(pod("web"));
  assert.deepEqual(errors, []);
  assert.equal(object.spec.restartPolicy, "Always");
  assert.equal(object.spec.priority, 0);
  assert.equal(object.spec.serviceAccountName, "default");
  assert.equal(object.spec.containers[0].imagePullPolicy, "Always");
  assert.match(object.spec.containers[0].volumeMounts[0].name, /^kube-api-access-[a-z0-9]{5}$/);
  assert.equal(object.spec.volumes[0].projected.sources[0].serviceAccountToken.expirationSeconds, 3607);
  assert.deepEqual(
    object.spec.tolerations.map((item: { key: string }) => item.key),
    ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"],
  );
  assert.deepEqual(object.status, { phase: "Pending", qosClass: "BestEffort" });
});

test("a pod's spec may change its image but not its command", () => {
  const store = new TestStore();
  const { object } = store.write(pod("web"));
  const image = structuredClone(object);
  image.spec.containers[0].image = "nginx:2";
  assert.deepEqual(store.write(image, undefined, "update").errors, []);
  const command = structuredClone(image);
  command.spec.containers[0].command = ["sh"];
  const { errors } = store.write(command, undefined, "update");
  assert.match(
    errors[0]!.message,
    /^Forbidden: pod updates may not change fields other than `spec.containers/,
  );
});

test("objects in missing or ending namespaces are refused", () => {
  const store = new TestStore();
  const lost = pod("web");
  lost.metadata.namespace = "nowhere";
  assert.throws(() => store.write(lost), new Refusal(404, "NotFound", 'namespaces "nowhere" not found'));
  store.put({
    apiVersion: "v1",
    kind: "Namespace",
    metadata: { name: "nowhere" },
    status: { phase: "Terminating" },
  });
  assert.throws(
    () => store.write(lost),
    (error: Refusal) => error.code === 403 && error.causes[0]?.reason === "NamespaceTerminating",
  );
});

test("a wrong type is told in the words of the real decoder", () => {
  const { mismatch } = new TestStore().write({ ...pod("web"), spec: { containers: [{ name: 1 }] } });
  assert.equal(
    mismatch,
    "json: cannot unmarshal number into Go struct field Container.spec.containers.name of type string",
  );
});

test("quantities are stored in their canonical form", () => {
  const resources = { requests: { cpu: 0.5, memory: "1024Mi" }, limits: { cpu: "1000m", memory: "2Gi" } };
  const { object } = new TestStore().write(
    pod("web", { containers: [{ name: "a", image: "b", resources }] }),
  );
  assert.deepEqual(object.spec.containers[0].resources, {
    requests: { cpu: "500m", memory: "1Gi" },
    limits: { cpu: "1", memory: "2Gi" },
  });
  assert.equal(object.status.qosClass, "Burstable");
});

test("a deployment's selector must match its template and cannot change", () => {
  const store = new TestStore();
  const deployment = {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: "web" },
    spec: {
      selector: { matchLabels: { app: "web" } },
      template: { metadata: { labels: { app: "web" } }, spec: { containers: [{ name: "a", image: "b" }] } },
    },
  };
  const { object, errors } = store.write(deployment);
  assert.deepEqual(errors, []);
  assert.equal(object.metadata.generation, 1);
  assert.deepEqual(object.spec.strategy.rollingUpdate, { maxUnavailable: "25%", maxSurge: "25%" });
  const scaled = structuredClone(object);
  scaled.spec.replicas = 3;
  assert.equal(store.write(scaled, undefined, "update").object.metadata.generation, 2);
  const moved = structuredClone(scaled);
  moved.spec.selector.matchLabels.app = "other";
  const fields = store.write(moved, undefined, "update").errors.map(({ field }) => field);
  assert.deepEqual(fields, ["spec.template.metadata.labels", "spec.selector"]);
});

test("a node takes no pods at first, and gives all it has", () => {
  const source = {
    apiVersion: "v1",
    kind: "Node",
    metadata: { name: "n1" },
    status: { capacity: { cpu: 2 } },
  };
  const { object, errors } = new TestStore().write(source);
  assert.deepEqual(errors, []);
  assert.deepEqual(object.spec.taints, [{ key: "node.kubernetes.io/not-ready", effect: "NoSchedule" }]);
  assert.deepEqual(object.status.allocatable, { cpu: "2" });
});

test("a status update keeps the spec, a spec update keeps the status", () => {
  const store = new TestStore();
  const { object } = store.write(pod("web"));
  const status = structuredClone(object);
  status.status = { phase: "Running" };
  status.spec.nodeName = "elsewhere";
  const running = store.write(status, undefined, "status").object;
  assert.equal(running.spec.nodeName, undefined);
  assert.equal(running.status.phase, "Running");
  const labelled = structuredClone(running);
  labelled.status = {};
  assert.equal(store.write(labelled, undefined, "update").object.status.phase, "Running");
});
