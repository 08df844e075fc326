// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import type { KubeObject } from "../lib/kube-object.ts";
import { hostPortGroups, serviceGroups } from "./service-model.ts";

const service = (spec: object, more: object = {}): KubeObject => ({
  metadata: { name: "web", namespace: "default", ...more },
  spec: { clusterIP: "10.96.0.9", ports: [{ name: "http", port: 80, protocol: "TCP" }], ...spec },
});
const slice = (endpoints: object[], addressType = "IPv4"): KubeObject => ({
  metadata: { name: "web-1", namespace: "default" },
  addressType,
  ports: [{ name: "http", port: 8080, protocol: "TCP" }],
  endpoints,
});
const at = (address: string, conditions: object = {}, nodeName = "n2") => ({
  addresses: [address],
  conditions,
  nodeName,
});

test("ready endpoints serve, those of this node first", () => {
  const endpoints = [
    at("10.0.0.9", { ready: true }),
    at("10.0.0.8", { ready: false }),
    at("10.0.0.1", {}, "n1"),
  ];
  const [group] = serviceGroups(service({}), [slice(endpoints)], "n1");
  assert.deepEqual(group?.backends, [
    { address: "10.0.0.1", port: 8080, local: true },
    { address: "10.0.0.9", port: 8080, local: false },
  ]);
});

test("terminating endpoints serve when none is ready", () => {
  const ending = at("10.0.0.8", { ready: false, serving: true, terminating: true });
  const broken = at("10.0.0.7", { ready: false, serving: false, terminating: true });
  const [group] = serviceGroups(service({}), [slice([ending, broken])], "n1");
  assert.deepEqual(
    group?.backends.map((backend) => backend.address),
    ["10.0.0.8"],
  );
  const [with1] = serviceGroups(service({}), [slice([ending, at("10.0.0.1")])], "n1");
  assert.deepEqual(
    with1?.backends.map((backend) => backend.address),
    ["10.0.0.1"],
  );
});

test("not-ready addresses serve when the Service publishes them", () => {
  const [group] = serviceGroups(
    service({ publishNotReadyAddresses: true }),
    [slice([at("10.0.0.8", { ready: false })])],
    "n1",
  );
  assert.equal(group?.backends.length, 1);
});

test("each family has its own group, and a slice serves its own family", () => {
  const groups = serviceGroups(
    service({ clusterIPs: ["10.96.0.9", "fd00::9"] }),
    [slice([at("10.0.0.1")]), slice([at("fd00:1::1")], "IPv6")],
    "n1",
  );
  assert.deepEqual(
    groups.map((group) => group.backends[0]?.address),
    ["10.0.0.1", "fd00:1::1"],
  );
});

test("node ports, external and balancer addresses are frontends with the external policy", () => {
  const object = service({
    externalIPs: ["192.0.2.1", "2001:db8::1"],
    externalTrafficPolicy: "Local",
    internalTrafficPolicy: "Local",
    ports: [{ name: "http", port: 80, nodePort: 30080 }],
  });
  object.status = {
    loadBalancer: { ingress: [{ ip: "192.0.2.2" }, { ip: "192.0.2.3", ipMode: "Proxy" }, { hostname: "x" }] },
  };
  const [group] = serviceGroups(object, [], "n1");
  assert.deepEqual(
    group?.frontends.map(({ address, port, flags }) => [address, port, flags]),
    [
      ["10.96.0.9", 80, 2],
      ["192.0.2.1", 80, 1],
      ["192.0.2.2", 80, 1],
      ["0.0.0.0", 30080, 1],
    ],
  );
});

test("headless, external-name and other proxies' Services are not ours", () => {
  assert.deepEqual(serviceGroups(service({ clusterIP: "None" }), [], "n1"), []);
  assert.deepEqual(serviceGroups(service({ type: "ExternalName" }), [], "n1"), []);
  const other = service({}, { labels: { "service.kubernetes.io/service-proxy-name": "x" } });
  assert.deepEqual(serviceGroups(other, [], "n1"), []);
});

test("a pod's host ports", () => {
  const pod: KubeObject = {
    metadata: { name: "p", namespace: "default" },
    spec: { containers: [{ ports: [{ containerPort: 80, hostPort: 8088 }, { containerPort: 81 }] }] },
    status: { phase: "Running", podIPs: [{ ip: "10.0.0.5" }] },
  };
  const [group, ...rest] = hostPortGroups(pod);
  assert.equal(rest.length, 0);
  assert.equal(group?.frontends[0]?.address, "0.0.0.0");
  assert.deepEqual(group?.backends, [{ address: "10.0.0.5", port: 80, local: true }]);
  assert.deepEqual(hostPortGroups({ ...pod, status: { ...pod.status, phase: "Succeeded" } }), []);
});
