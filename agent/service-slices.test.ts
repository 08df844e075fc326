// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import type { KubeObject } from "../lib/kube-object.ts";
import { serviceGroups, weightsAnnotation } from "./service-model.ts";
import { forgetMostOfSlice } from "./service-slices.ts";

const service: KubeObject = {
  metadata: { name: "web", namespace: "default", annotations: { [weightsAnnotation]: "web-0=3,z2=2,n3=0" } },
  spec: { clusterIP: "10.96.0.1", ports: [{ name: "http", port: 80 }] },
};

const sliceOf = (endpoints: unknown[]): KubeObject => ({
  apiVersion: "discovery.k8s.io/v1",
  kind: "EndpointSlice",
  metadata: {
    name: "web-abcde",
    namespace: "default",
    uid: "u",
    resourceVersion: "7",
    labels: { app: "web", "kubernetes.io/service-name": "web" },
    annotations: { "endpoints.kubernetes.io/last-change-trigger-time": "2026-01-01T00:00:00Z" },
    ownerReferences: [{ apiVersion: "v1", kind: "Service", name: "web", uid: "s" }],
    managedFields: [{}],
  },
  addressType: "IPv4",
  ports: [{ name: "http", port: 8080, protocol: "TCP" }],
  endpoints,
});

const pod = (name: string) => ({ kind: "Pod", namespace: "default", name, uid: `uid of ${name}` });
const ready = { ready: true, serving: true, terminating: false };
const ending = { ready: false, serving: true, terminating: true };
const hints = { forZones: [{ name: "z1" }], forNodes: [{ name: "n1" }] };

test("a slice with most of it taken out makes the same groups", () => {
  const cases: unknown[][] = [
    [
      { addresses: ["10.0.0.1"], conditions: ready, nodeName: "n1", zone: "z1", targetRef: pod("web-0") },
      {
        addresses: ["10.0.0.2"],
        conditions: { ...ready },
        nodeName: "n2",
        zone: "z2",
        targetRef: pod("web-1"),
      },
      { addresses: ["10.0.0.3"], nodeName: "n3", deprecatedTopology: { a: "b" } },
    ],
    [
      { addresses: ["10.0.0.1"], conditions: ending, hostname: "a" },
      { addresses: ["10.0.0.2"], conditions: {} },
    ],
    [
      { addresses: ["10.0.0.1"], conditions: ready, hints },
      { addresses: ["10.0.0.2"], hints },
    ],
    [{ addresses: null }, { addresses: ["10.0.0.2"], conditions: null, targetRef: null, hints: null }],
  ];
  for (const endpoints of cases) {
    const groupsOf = (slice: KubeObject) => serviceGroups(service, [slice], { nodeName: "n1", zone: "z1" });
    const slice = sliceOf(structuredClone(endpoints));
    const expected = groupsOf(slice);
    assert.ok(expected[0]!.backends.length > 0);
    forgetMostOfSlice(slice);
    assert.deepEqual(groupsOf(slice), expected);
  }
});

test("what nobody asks for is gone, and states are shared", () => {
  const slice = sliceOf([
    { addresses: ["10.0.0.1"], conditions: { ...ready }, targetRef: pod("web-0") },
    { addresses: ["10.0.0.2"], conditions: { ...ready }, targetRef: { kind: "VirtualMachine", name: "v" } },
    null,
  ]);
  forgetMostOfSlice(slice);
  assert.deepEqual(slice.metadata, {
    ...{ name: "web-abcde", namespace: "default", uid: "u", resourceVersion: "7" },
    labels: { "kubernetes.io/service-name": "web" },
  });
  assert.equal(slice.endpoints[0].conditions, slice.endpoints[1].conditions);
  assert.deepEqual(JSON.parse(JSON.stringify(slice.endpoints)), [
    { addresses: ["10.0.0.1"], conditions: ready, targetRef: { kind: "Pod", name: "web-0" } },
    { addresses: ["10.0.0.2"], conditions: ready },
    { conditions: {} },
  ]);
  const bare: KubeObject = { metadata: { name: "a", namespace: "default" }, endpoints: null };
  forgetMostOfSlice(bare);
  assert.equal(bare.endpoints, null);
});
