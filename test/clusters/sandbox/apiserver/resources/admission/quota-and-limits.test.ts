// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { KubeObject } from "../resource.ts";
import { pod, TestStore } from "../test-store.ts";

function storeWith(kind: string, spec: KubeObject): TestStore {
  const store = new TestStore();
  store.put({ apiVersion: "v1", kind: "Namespace", metadata: { name: "default" } });
  store.write({ apiVersion: "v1", kind, metadata: { name: "bounds", namespace: "default" }, spec });
  return store;
}

const configMap = (name: string): KubeObject => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name, namespace: "default" },
});

describe("a ResourceQuota", () => {
  test("refuses the pod that is one too many, and forgets those that have ended", () => {
    const store = storeWith("ResourceQuota", { hard: { pods: "1" } });
    store.write(pod("first"));
    assert.throws(() => store.write(pod("second")), {
      code: 403,
      message:
        'pods "second" is forbidden: exceeded quota: bounds, requested: pods=1, used: pods=1, limited: pods=1',
    });
    const first = store.get("", "pods", "default", "first")!;
    store.put({ ...first, status: { ...first.status, phase: "Succeeded" } });
    store.write(pod("second"));
  });

  test("counts objects of any kind by their qualified name", () => {
    const store = storeWith("ResourceQuota", {
      hard: { "count/configmaps": "1", "count/deployments.apps": "0" },
    });
    store.write(configMap("one"));
    assert.throws(
      () => store.write(configMap("two")),
      /exceeded quota: bounds, requested: count\/configmaps=1/,
    );
    const deployment = {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { name: "web", namespace: "default" },
      spec: { selector: { matchLabels: { app: "web" } }, template: { metadata: { labels: { app: "web" } } } },
    };
    assert.throws(() => store.write(deployment), /deployments\.apps "web" is forbidden: exceeded quota/);
  });

  test("does not stand in the way of changes", () => {
    const store = storeWith("ResourceQuota", { hard: { configmaps: "1" } });
    store.write(configMap("one"));
    store.write({ ...configMap("one"), data: { key: "value" } }, undefined, "update");
  });

  test("with a scope counts only what is in it", () => {
    const store = storeWith("ResourceQuota", { hard: { pods: "0" }, scopes: ["BestEffort"] });
    const resources = { requests: { cpu: "1" } };
    store.write(pod("sized", { containers: [{ name: "main", image: "nginx", resources }] }));
    assert.throws(() => store.write(pod("unsized")), /exceeded quota/);
  });
});

describe("a LimitRange", () => {
  const limits = [
    {
      type: "Container",
      default: { cpu: "500m" },
      defaultRequest: { cpu: "100m" },
      min: { cpu: "50m" },
      max: { cpu: "1" },
    },
  ];

  test("fills requests and limits that are missing", () => {
    const { object } = storeWith("LimitRange", { limits }).write(pod("plain"));
    assert.deepEqual(object.spec.containers[0].resources, {
      limits: { cpu: "500m" },
      requests: { cpu: "100m" },
    });
  });

  test("refuses what is out of bounds", () => {
    const store = storeWith("LimitRange", { limits });
    const sized = (resources: KubeObject) =>
      pod("sized", { containers: [{ name: "main", image: "nginx", resources }] });
    assert.throws(
      () => store.write(sized({ limits: { cpu: "2" } })),
      /pods "sized" is forbidden: maximum cpu usage per Container is 1, but limit is 2/,
    );
    assert.throws(
      () => store.write(sized({ requests: { cpu: "10m" }, limits: { cpu: "1" } })),
      /minimum cpu usage per Container is 50m, but request is 10m/,
    );
  });
});
