// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import type { KubeObject } from "../lib/kube-object.ts";
import { healthCheckOf, hostPortGroups, serviceGroups } from "./service-model.ts";

const service = (spec: object, more: object = {}): KubeObject => ({
  metadata: { name: "web", namespace: "default", ...more },
  spec: { clusterIP: "10.96.0.9", ports: [{ name: "http", port: 80, protocol: "TCP" }], ...spec },
});
const here = { nodeName: "n1", zone: "z1" };
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

const addresses = (backends: { address: string }[] | undefined) => backends?.map(({ address }) => address);

test("ready endpoints serve, in the same order on every node", () => {
  const endpoints = [
    at("10.0.0.9", { ready: true }),
    at("10.0.0.8", { ready: false }),
    at("10.0.0.1", {}, "n1"),
  ];
  for (const nodeName of ["n1", "n2"]) {
    const [group] = serviceGroups(service({}), [slice(endpoints)], { nodeName });
    assert.deepEqual(group?.backends, [
      { address: "10.0.0.1", port: 8080, weight: 1 },
      { address: "10.0.0.9", port: 8080, weight: 1 },
    ]);
    assert.deepEqual(group.localBackends, []);
  }
});

test("the policy Local has this node's endpoints, and ending ones when none of them is ready", () => {
  const ending = { ready: false, serving: true, terminating: true };
  const local = (endpoints: object[]) =>
    addresses(
      serviceGroups(service({ internalTrafficPolicy: "Local" }), [slice(endpoints)], here)[0]?.localBackends,
    );
  assert.deepEqual(local([at("10.0.0.1", {}, "n1"), at("10.0.0.2"), at("10.0.0.3", ending, "n1")]), [
    "10.0.0.1",
  ]);
  assert.deepEqual(local([at("10.0.0.2"), at("10.0.0.3", ending, "n1")]), ["10.0.0.3"]);
  assert.deepEqual(local([at("10.0.0.2")]), []);
});

test("hints narrow the policy Cluster to this node, else to its zone, else not at all", () => {
  const hinted = (address: string, zones: string[], nodes: string[] = [], nodeName = "n2") => ({
    ...at(address, {}, nodeName),
    hints: { forZones: zones.map((name) => ({ name })), forNodes: nodes.map((name) => ({ name })) },
  });
  const chosen = (endpoints: object[], place = here) =>
    addresses(serviceGroups(service({}), [slice(endpoints)], place)[0]?.backends);
  const zones = [hinted("10.0.0.1", ["z1"]), hinted("10.0.0.2", ["z2"])];
  assert.deepEqual(chosen(zones), ["10.0.0.1"]);
  assert.deepEqual(chosen(zones, { nodeName: "n1", zone: "z3" }), ["10.0.0.1", "10.0.0.2"]);
  assert.deepEqual(chosen(zones, { nodeName: "n1" } as typeof here), ["10.0.0.1", "10.0.0.2"]);
  assert.deepEqual(chosen([...zones, at("10.0.0.3")]), ["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
  const both = [hinted("10.0.0.1", ["z1"], ["n9"]), hinted("10.0.0.2", ["z2"], ["n1"])];
  assert.deepEqual(chosen(both), ["10.0.0.2"]);
});

test("an endpoint in two slices counts once, in its better state", () => {
  const slices = [
    slice([at("10.0.0.1", { ready: false })]),
    slice([at("10.0.0.1")]),
    slice([at("10.0.0.1", { ready: false })]),
  ];
  const [group] = serviceGroups(service({}), slices, here);
  assert.deepEqual(addresses(group?.backends), ["10.0.0.1"]);
});

test("source ranges hold for load balancer addresses, in their own family", () => {
  const object = service({
    type: "LoadBalancer",
    clusterIPs: ["10.96.0.9", "fd00::9"],
    externalIPs: ["192.0.2.1"],
    loadBalancerSourceRanges: ["203.0.113.0/24", " 10.0.0.0/8", "nonsense"],
  });
  object.status = { loadBalancer: { ingress: [{ ip: "192.0.2.2" }, { ip: "2001:db8::2" }] } };
  const groups = serviceGroups(object, [], here);
  assert.deepEqual(
    groups.map(({ sourceRanges, frontends }) => [sourceRanges, frontends.map(({ flags }) => flags)]),
    [
      [
        ["203.0.113.0/24", "10.0.0.0/8"],
        [0, 0, 8],
      ],
      [[], [0, 0]],
    ],
  );
});

test("weights go by address, pod, node or zone", () => {
  const object = service(
    {},
    { annotations: { "shunt.dev/backend-weights": "z2=3, 10.0.0.1=0,p-7=5,bad=x,n9=1001" } },
  );
  const endpoints = [
    at("10.0.0.1"),
    { ...at("10.0.0.2"), zone: "z2" },
    { ...at("10.0.0.3"), targetRef: { kind: "Pod", name: "p-7" } },
    at("10.0.0.4", {}, "n9"),
  ];
  const [group] = serviceGroups(object, [slice(endpoints)], here);
  assert.deepEqual(
    group?.backends.map(({ weight }) => weight),
    [0, 3, 5, 1],
  );
  assert.deepEqual([group.table, group.frontends[0]?.flags], [true, 16]);
});

test("a health check counts the ready endpoints of this node", () => {
  const spec = { type: "LoadBalancer", externalTrafficPolicy: "Local", healthCheckNodePort: 31_000 };
  const endpoints = [at("10.0.0.1", {}, "n1"), at("10.0.0.2"), at("10.0.0.3", { ready: false }, "n1")];
  assert.deepEqual(healthCheckOf(service(spec), [slice(endpoints)], here), {
    namespace: "default",
    name: "web",
    port: 31_000,
    localEndpoints: 1,
  });
  assert.equal(healthCheckOf(service({ ...spec, externalTrafficPolicy: "Cluster" }), [], here), undefined);
});

test("what no API server would let in is left out, and the rest is served", () => {
  const object = service({
    clusterIPs: ["10.96.0.9", "nonsense", "999.1.1.1"],
    externalIPs: ["x", "192.0.2.1", 7],
    ports: [
      { name: "http", port: 80, nodePort: 99_999 },
      { name: "odd", port: 70_000 },
    ],
  });
  const groups = serviceGroups(
    object,
    [slice([at("10.0.0.1"), at("garbage"), {}, { addresses: [8] }])],
    here,
  );
  assert.deepEqual(
    groups.map(({ frontends, backends }) => [frontends.map(({ address }) => address), addresses(backends)]),
    [[["10.96.0.9", "192.0.2.1"], ["10.0.0.1"]]],
  );
  assert.deepEqual(
    serviceGroups(service({}), [{ ...slice([at("10.0.0.1")]), ports: [{ name: "http", port: 0 }] }], here)[0]
      ?.backends,
    [],
  );
});

test("SCTP is served too, other protocols are not", () => {
  const ports = [
    { name: "http", port: 1, protocol: "SCTP" },
    { name: "x", port: 2, protocol: "DCCP" },
  ];
  assert.deepEqual(
    serviceGroups(service({ ports }), [], here).map(({ protocol }) => protocol),
    [132],
  );
});

test("terminating endpoints serve when none is ready", () => {
  const ending = at("10.0.0.8", { ready: false, serving: true, terminating: true });
  const broken = at("10.0.0.7", { ready: false, serving: false, terminating: true });
  const [group] = serviceGroups(service({}), [slice([ending, broken])], here);
  assert.deepEqual(
    group?.backends.map((backend) => backend.address),
    ["10.0.0.8"],
  );
  const [with1] = serviceGroups(service({}), [slice([ending, at("10.0.0.1")])], here);
  assert.deepEqual(
    with1?.backends.map((backend) => backend.address),
    ["10.0.0.1"],
  );
});

test("not-ready addresses serve when the Service publishes them", () => {
  const [group] = serviceGroups(
    service({ publishNotReadyAddresses: true }),
    [slice([at("10.0.0.8", { ready: false })])],
    here,
  );
  assert.equal(group?.backends.length, 1);
});

test("each family has its own group, and a slice serves its own family", () => {
  const groups = serviceGroups(
    service({ clusterIPs: ["10.96.0.9", "fd00::9"] }),
    [slice([at("10.0.0.1")]), slice([at("fd00:1::1")], "IPv6")],
    here,
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
  const [group] = serviceGroups(object, [], here);
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
  assert.deepEqual(serviceGroups(service({ clusterIP: "None" }), [], here), []);
  assert.deepEqual(serviceGroups(service({ type: "ExternalName" }), [], here), []);
  const other = service({}, { labels: { "service.kubernetes.io/service-proxy-name": "x" } });
  assert.deepEqual(serviceGroups(other, [], here), []);
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
  assert.deepEqual(group?.backends, [{ address: "10.0.0.5", port: 80, weight: 1 }]);
  assert.deepEqual(hostPortGroups({ ...pod, status: { ...pod.status, phase: "Succeeded" } }), []);
});
