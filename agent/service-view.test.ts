// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { addressBytes } from "../lib/addresses.ts";
import type { KubeObject } from "../lib/kube-object.ts";
import {
  backend,
  backendKey,
  endpoint,
  endpointFlags,
  lbStatsKey,
  lbStats as lbStatsLayout,
  maps as names,
  serviceKey,
  service as serviceLayout,
} from "./datapath-layout.ts";
import { hostPortGroups, serviceGroups } from "./service-model.ts";
import type { ServiceView } from "./service-reader.ts";
import { ServiceTable } from "./service-table.ts";
import { type ServiceFilter, viewServices } from "./service-view.ts";
import { type MemoryMaps, memoryMaps } from "./testing-services.ts";

const here = { nodeName: "n1" };
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const service = (name: string, clusterIP: string, spec: object = {}): KubeObject => ({
  metadata: { name, namespace: "default" },
  spec: { clusterIP, ports: [{ name: "http", port: 80, protocol: "TCP" }], ...spec },
});
/** Endpoints on `n1` have an address that ends in 1. */
const slice = (name: string, addresses: string[]): KubeObject => ({
  metadata: { name: `${name}-1`, namespace: "default" },
  addressType: "IPv4",
  ports: [{ name: "http", port: 8080, protocol: "TCP" }],
  endpoints: addresses.map((address) => ({
    addresses: [address],
    nodeName: address.endsWith("1") ? "n1" : "n2",
  })),
});
const balanced = {
  type: "LoadBalancer",
  ports: [{ name: "http", port: 80, protocol: "TCP", nodePort: 30_080 }],
  externalTrafficPolicy: "Local",
  sessionAffinity: "ClientIP",
  loadBalancerSourceRanges: ["192.0.2.0/24", "198.51.100.7/32"],
};

describe("the view of the service maps", () => {
  let maps: MemoryMaps;
  let table: ServiceTable;
  /** By key: what each CPU counted. */
  let counts: Map<string, Uint8Array>;
  let own: [string, number][];
  const view = (filter?: ServiceFilter, pauseMs?: number): Promise<ServiceView[]> => {
    const mapOf: Parameters<typeof viewServices>[0] = (name) => {
      const found = Object.keys(names).find((key) => names[key as keyof typeof names] === name);
      return { lbStats, endpoints, ...maps }[found as keyof MemoryMaps | "lbStats" | "endpoints"];
    };
    const none = (): [Uint8Array, Uint8Array][] => [];
    const lbStats = { get: (key: Uint8Array) => counts.get(hex(key)), entries: none };
    const endpoints = {
      get: () => undefined,
      entries: () =>
        own.map(([address, flags]): [Uint8Array, Uint8Array] => [
          addressBytes(address),
          endpoint.encode({ flags }),
        ]),
    };
    return viewServices(mapOf, table, filter, pauseMs);
  };
  const count = (serviceId: number, backendId: number, ...perCpu: number[]) =>
    counts.set(
      hex(lbStatsKey.encode({ serviceId, backendId })),
      Buffer.concat(perCpu.map((connections) => lbStatsLayout.encode({ connections: BigInt(connections) }))),
    );
  beforeEach(() => {
    maps = memoryMaps();
    table = new ServiceTable(maps);
    counts = new Map();
    own = [];
  });

  test("a Service has its names, addresses, backends by policy, and counts of all CPUs", async () => {
    const web = service("web", "10.96.0.1", balanced);
    web.status = { loadBalancer: { ingress: [{ ip: "203.0.113.5" }] } };
    table.apply(serviceGroups(web, [slice("web", ["10.0.0.1", "10.0.0.2"])], here));
    const { ENDPOINT_HOST, ENDPOINT_NODE_PORTS } = endpointFlags;
    own = [
      ["172.30.0.2", ENDPOINT_HOST | ENDPOINT_NODE_PORTS],
      ["10.244.0.1", ENDPOINT_HOST],
      ["10.244.0.7", 0],
      ["fd00::2", ENDPOINT_HOST | ENDPOINT_NODE_PORTS],
    ];
    count(1, 1, 3, 0, 4);
    count(1, 2, 0, 1);
    count(1, 0, 2, 2);
    count(9, 1, 99);
    const [seen, ...rest] = await view();
    assert.equal(rest.length, 0);
    const { frontends, backends, ...others } = seen!;
    assert.deepEqual(others, {
      ...{ kind: "Service", namespace: "default", name: "web", portName: "http", protocol: "TCP" },
      ...{ family: "ipv4", id: 1, generation: 1, connections: 8, refused: 4, affinitySeconds: 10_800 },
      ...{ tableSize: 1021, sourceRanges: ["192.0.2.0/24", "198.51.100.7/32"], problems: [] },
    });
    const local = "externalTrafficPolicy Local";
    assert.deepEqual(frontends, [
      { address: "10.96.0.1", port: 80, kind: "ClusterIP", flags: [] },
      {
        ...{ address: "203.0.113.5", port: 80, kind: "ExternalIP/LoadBalancer" },
        flags: [local, "source ranges"],
      },
      {
        ...{ address: "0.0.0.0", port: 30_080, kind: "NodePort", flags: [local] },
        nodeAddresses: ["172.30.0.2"],
      },
    ]);
    assert.deepEqual(
      backends.map(({ tableEntries, ...backendView }) => backendView),
      [
        { address: "10.0.0.1", port: 8080, id: 1, policy: "both", connections: 7 },
        { address: "10.0.0.2", port: 8080, id: 2, policy: "cluster", connections: 1 },
      ],
    );
    const shares = backends.map(({ tableEntries }) => tableEntries);
    assert.equal(shares[0]! + shares[1]!, 1021);
    assert.ok(
      shares.every((share) => share > 400),
      String(shares),
    );
  });

  test("weights are the table's: three quarters of the entries for three of four", async () => {
    const web = service("web", "10.96.0.1");
    web.metadata.annotations = { "shunt.dev/backend-weights": "10.0.0.1=3" };
    table.apply(serviceGroups(web, [slice("web", ["10.0.0.1", "10.0.0.2"])], here));
    const [seen] = await view();
    assert.deepEqual(seen?.frontends[0]?.flags, ["weighted"]);
    assert.ok(Math.abs(seen.backends[0]!.tableEntries / seen.tableSize - 0.75) < 0.01);
  });

  test("a Service without backends, and one port of a pod", async () => {
    table.apply(serviceGroups(service("web", "10.96.0.1"), [], here));
    const pod: KubeObject = {
      metadata: { name: "edge", namespace: "kube-system" },
      spec: { containers: [{ ports: [{ containerPort: 53, hostPort: 5353, protocol: "UDP" }] }] },
      status: { podIPs: [{ ip: "fd00::1:7" }] },
    };
    table.apply(hostPortGroups(pod));
    own = [["fd00::2", endpointFlags.ENDPOINT_HOST]];
    const [web, edge] = await view();
    assert.deepEqual([web?.name, web?.backends, web?.id], ["web", [], 1]);
    assert.deepEqual(
      [edge?.kind, edge?.namespace, edge?.name, edge?.portName, edge?.protocol, edge?.family],
      ["Pod", "kube-system", "edge", "", "UDP", "ipv6"],
    );
    assert.deepEqual(edge?.frontends, [
      {
        ...{ address: "::", port: 5353, kind: "HostPort", flags: ["host port"] },
        nodeAddresses: ["fd00::2"],
      },
    ]);
  });

  test("only what was asked for is shown", async () => {
    for (const [name, address] of [
      ["web", "10.96.0.1"],
      ["api", "10.96.0.2"],
    ] as const)
      table.apply(serviceGroups(service(name, address), [slice(name, ["10.0.0.1"])], here));
    const names = async (filter: ServiceFilter) => (await view(filter)).map(({ name }) => name);
    assert.deepEqual(await names({}), ["api", "web"]);
    assert.deepEqual(await names({ namespace: "default", name: "web" }), ["web"]);
    assert.deepEqual(await names({ namespace: "other" }), []);
  });

  test("an entry that the agent does not know is shown as such", async () => {
    maps.services.setMany([
      [
        serviceKey.encode({ address: addressBytes("10.96.0.9"), port: 53, protocol: 17 }),
        serviceLayout.encode({ id: 7, generation: 3, backendCount: 1 }),
      ],
    ]);
    maps.backends.setMany([
      [
        backendKey.encode({ serviceId: 7, generation: 3, slot: 0 }),
        backend.encode({ address: addressBytes("10.0.0.3"), port: 5353, id: 4 }),
      ],
    ]);
    const [seen] = await view();
    assert.deepEqual(
      [seen?.kind, seen?.protocol, seen?.id, seen?.generation, seen?.frontends[0]?.kind],
      ["unknown", "UDP", 7, 3, "unknown"],
    );
    assert.equal(seen?.backends[0]?.address, "10.0.0.3");
    assert.deepEqual(await view({ namespace: "default" }), []);
  });

  test("what changes while it is read is shown as it was or as it is", async () => {
    const apply = (name: string, address: string, ...addresses: string[]) =>
      table.apply(serviceGroups(service(name, address), [slice(name, addresses)], here));
    apply("a", "10.96.0.1", "10.0.0.1");
    apply("b", "10.96.0.2", "10.0.0.2");
    apply("c", "10.96.0.3", "10.0.0.3");
    const reading = view({}, 0);
    apply("b", "10.96.0.2", "10.0.0.4", "10.0.0.5");
    table.apply([], ["default/c:http/TCP/ipv4"]);
    assert.deepEqual(
      (await reading).map(({ name, backends, problems }) => [name, backends.length, problems]),
      [
        ["a", 1, []],
        ["b", 2, []],
      ],
    );
  });

  test("what is missing in the maps is told", async () => {
    const web = service("web", "10.96.0.1", balanced);
    table.apply(serviceGroups(web, [slice("web", ["10.0.0.1", "10.0.0.2"])], here));
    maps.backends.deleteMany([backendKey.encode({ serviceId: 1, generation: 1, slot: 1 })]);
    maps.maglev.deleteMany([maps.maglev.entries()[0]![0]]);
    maps.members.deleteMany(maps.members.entries().map(([key]) => key));
    assert.deepEqual((await view())[0]?.problems, [
      "256 of 1021 entries of the table in sh_maglev lead to no backend",
      "1 of 3 slots are missing in sh_backends",
      "1 of 1 backends are missing in sh_members: no client stays with them",
    ]);
  });

  test("what could not be written is told, also of a Service that is not there at all", async () => {
    maps.backends.capacity = 2;
    const apply = (name: string, address: string) =>
      table.apply(serviceGroups(service(name, address), [slice(name, ["10.0.0.1"])], here));
    apply("a", "10.96.0.1");
    apply("b", "10.96.0.1");
    apply("c", "10.96.0.3");
    const seen = (await view()).map(({ name, id, frontends, problems }) => [
      name,
      id,
      frontends.length,
      problems,
    ]);
    assert.deepEqual(seen[0], ["a", 1, 1, []]);
    for (const [, id, frontends] of seen.slice(1)) assert.deepEqual([id, frontends], [0, 0]);
    assert.match(String(seen[1]?.[3]), /^no room for it: backends has 1 of 1 entries/);
    assert.match(String(seen[2]?.[3]), /^no room for it: backends has 1 of 1 entries/);
  });
});
