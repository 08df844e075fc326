// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import type { KubeObject } from "../../../../lib/kube-object.ts";
import { podMember, podPorts, selectedPods } from "./endpoint-members.ts";
import { planSlices } from "./endpoint-slice-plan.ts";
import { endpointSubsets } from "./endpoints.ts";

const service = (spec = {}): KubeObject => ({
  metadata: { name: "web", namespace: "ns", uid: "svc" },
  spec: {
    selector: { app: "web" },
    clusterIP: "10.96.0.9",
    ipFamilies: ["IPv4"],
    ports: [{ name: "http", port: 80, targetPort: "web", protocol: "TCP" }],
    ...spec,
  },
});
const pod = (index: number, { port = 8080, ready = true, ...metadata } = {}): KubeObject => ({
  metadata: { name: `p${index}`, namespace: "ns", uid: `u${index}`, labels: { app: "web" }, ...metadata },
  spec: {
    nodeName: "n1",
    hostname: "host",
    subdomain: "web",
    containers: [{ name: "c", ports: [{ name: "web", containerPort: port }] }],
  },
  status: {
    phase: "Running",
    podIPs: [{ ip: `10.0.${index >> 8}.${index & 255}` }, { ip: `fd00::${index.toString(16)}` }],
    conditions: [{ type: "Ready", status: ready ? "True" : "False" }],
  },
});
const members = (owner: KubeObject, pods: KubeObject[], family: "ipv4" | "ipv6" = "ipv4") =>
  pods.map((entry) => podMember(owner, entry, family, undefined)!);

test("an endpoint says whether its pod is ready, serving and terminating", () => {
  const dying = pod(1, { deletionTimestamp: "2026-01-01T00:00:00Z" } as object);
  const [member] = members(service(), [dying]);
  assert.deepEqual(member?.endpoint.conditions, { ready: false, serving: true, terminating: true });
  const unready = members(service({ publishNotReadyAddresses: true }), [pod(2, { ready: false })])[0];
  assert.deepEqual(unready?.endpoint.conditions, { ready: true, serving: false, terminating: false });
  assert.equal(unready?.endpoint.hostname, "host");
});

test("each family takes the pod's address of that family", () => {
  assert.deepEqual(members(service(), [pod(10)], "ipv6")[0]?.endpoint.addresses, ["fd00::a"]);
});

test("a named target port is looked up in each pod", () => {
  assert.deepEqual(podPorts(service(), pod(1, { port: 9090 })), [
    { name: "http", port: 9090, protocol: "TCP" },
  ]);
  const plan = planSlices(service(), "ipv4", members(service(), [pod(1), pod(2, { port: 9090 })]), []);
  assert.equal(plan.create.length, 2);
});

test("slices hold at most 100 endpoints, and one changed pod rewrites one slice", () => {
  const pods = Array.from({ length: 250 }, (_, index) => pod(index));
  const first = planSlices(service(), "ipv4", members(service(), pods), []);
  assert.deepEqual(
    first.create.map((slice) => slice.endpoints.length),
    [100, 100, 50],
  );
  const existing = first.create.map((slice, index) => ({
    ...slice,
    metadata: { ...slice.metadata, name: `s${index}` },
  }));
  const without = planSlices(service(), "ipv4", members(service(), pods.slice(1)), existing);
  assert.equal(without.create.length + without.remove.length, 0);
  // The last slice lends nobody: endpoints stay where they are.
  assert.deepEqual(
    without.update.map((slice) => [slice.metadata.name, slice.endpoints.length]),
    [["s0", 99]],
  );
});

test("a Service without pods keeps one empty slice", () => {
  const plan = planSlices(service(), "ipv4", [], []);
  assert.deepEqual([plan.create.length, plan.create[0]?.endpoints], [1, []]);
  assert.deepEqual(planSlices(service(), "ipv4", [], plan.create), { create: [], update: [], remove: [] });
});

test("classic endpoints leave terminating pods out and list unready ones apart", () => {
  const dying = pod(3, { deletionTimestamp: "2026-01-01T00:00:00Z" } as object);
  const subsets = endpointSubsets(service(), [pod(1), pod(2, { ready: false }), dying]);
  assert.equal(subsets.length, 1);
  assert.deepEqual(
    subsets[0].addresses.map(({ ip }: { ip: string }) => ip),
    ["10.0.0.1"],
  );
  assert.deepEqual(
    subsets[0].notReadyAddresses.map(({ ip }: { ip: string }) => ip),
    ["10.0.0.2"],
  );
});

test("ended pods and pods of other namespaces are not selected", () => {
  const ended = pod(2);
  ended.status.phase = "Succeeded";
  const elsewhere = pod(3, { namespace: "other" } as object);
  assert.deepEqual(
    selectedPods(service(), [pod(1), ended, elsewhere]).map(({ metadata }) => metadata.name),
    ["p1"],
  );
});
