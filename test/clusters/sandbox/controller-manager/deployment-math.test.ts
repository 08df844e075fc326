// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import type { KubeObject } from "../../../../lib/kube-object.ts";
import { newSetReplicas, oldSetReplicas, proportionalReplicas, rolloutBounds } from "./deployment-math.ts";
import { portionOf, sameTemplate, shortHash } from "./pod-template.ts";

const deployment = (replicas: number, rollingUpdate = {}): KubeObject => ({
  metadata: { name: "web" },
  spec: { replicas, strategy: { type: "RollingUpdate", rollingUpdate } },
});
const set = (replicas: number, available = replicas, annotations = {}): KubeObject => ({
  metadata: { name: `set-${replicas}`, annotations, creationTimestamp: "2026-01-01T00:00:00Z" },
  spec: { replicas },
  status: { replicas, availableReplicas: available },
});

test("bounds round up for surge and down for unavailable, and are never both zero", () => {
  const quarter = { maxSurge: "25%", maxUnavailable: "25%" };
  assert.deepEqual(rolloutBounds(deployment(10, quarter)), { maxSurge: 3, maxUnavailable: 2 });
  assert.deepEqual(rolloutBounds(deployment(1, { maxSurge: 0, maxUnavailable: "25%" })), {
    maxSurge: 0,
    maxUnavailable: 1,
  });
  assert.equal(portionOf("50%", 3, "down"), 1);
});

test("the new set grows into the surge, the old ones shrink as the new becomes available", () => {
  const web = deployment(3, { maxSurge: 1, maxUnavailable: 0 });
  const old = set(3);
  assert.equal(newSetReplicas(web, [old], undefined), 1);
  assert.deepEqual([...oldSetReplicas(web, [old], set(1, 0)).values()], [3]);
  assert.deepEqual([...oldSetReplicas(web, [old], set(1, 1)).values()], [2]);
});

test("unhealthy pods of old sets go although nothing new is available", () => {
  const web = deployment(3, { maxSurge: 1, maxUnavailable: 1 });
  assert.deepEqual([...oldSetReplicas(web, [set(3, 2)], set(1, 0)).values()], [2]);
});

test("scaling in the middle of a rollout keeps the proportion", () => {
  const web = deployment(10, { maxSurge: 0, maxUnavailable: 2 });
  const annotations = { "deployment.kubernetes.io/max-replicas": "5" };
  const counts = proportionalReplicas(web, [set(3, 3, annotations), set(2, 2, annotations)]);
  assert.deepEqual([...counts.values()], [6, 4]);
});

test("templates are equal when only the hash label differs", () => {
  const template = (labels: Record<string, string>, image = "a") => ({
    metadata: { labels, creationTimestamp: null },
    spec: { containers: [{ name: "c", image }] },
  });
  const one = template({ app: "x" });
  assert.ok(sameTemplate(one, template({ app: "x", "pod-template-hash": "abc" }), "pod-template-hash"));
  assert.ok(!sameTemplate(one, template({ app: "x" }, "b"), "pod-template-hash"));
  assert.notEqual(shortHash(one), shortHash(template({ app: "x" }, "b")));
  assert.match(shortHash(one), /^[bcdfghjklmnpqrstvwxz2456789]{10}$/);
});
