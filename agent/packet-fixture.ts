// SPDX-License-Identifier: Apache-2.0
// A small node for packet tests: a network namespace with an uplink and routes, the programs loaded with maps of
// their own, two pods, a remote pod CIDR by tunnel and one by routing, and a few services.
import path from "node:path";
import { addressBytes, parseCidr } from "../lib/addresses.ts";
import { run } from "../lib/run.ts";
import * as layout from "./datapath-layout.ts";
import { type BpfObject, inNetns, loadObject, type TestRunResult, testRun } from "./libbpf.ts";
import { maglevSize, maglevTable } from "./maglev.ts";
import { reservedIdentities } from "./policy/entities.ts";

const objects = path.join(import.meta.dirname, "../build/bpf");

export const podMac = "02:00:00:00:00:05";
export const otherPodMac = "02:00:00:00:00:06";
const hex = (mac: string) => Uint8Array.from(mac.split(":"), (part) => Number.parseInt(part, 16));

const configOf = (extraFlags: number): Uint8Array =>
  layout.config.encode({
    nodeAddress4: addressBytes("172.31.0.2"),
    nodeAddress6: addressBytes("fd31::2"),
    gateway4: addressBytes("10.244.1.1"),
    gateway6: addressBytes("fd10:244:0:1::1"),
    flags:
      layout.configFlags.CONFIG_TUNNEL |
      layout.configFlags.CONFIG_MASQUERADE |
      layout.configFlags.CONFIG_NODE_PORTS |
      extraFlags,
    tunnelIfindex: 1,
    tunnelMtu: 1450,
    uplinkIfindex: 1,
    uplinkMtu: 1500,
    tunnelPort: 8473,
    nodePortMin: 30000,
    nodePortMax: 32767,
    masqueradePortMin: 61000,
    masqueradePortMax: 65535,
    localIdentityHost: reservedIdentities.host,
  });

/** One object with maps of its own, filled; `run` sends a packet through a program of it. */
export class PacketFixture {
  readonly object: BpfObject;
  readonly #netns: string;

  constructor(object: BpfObject, netns: string) {
    this.object = object;
    this.#netns = netns;
  }

  /** Runs a program over a packet as if it came from loopback, where the first pod "is". */
  run(program: string, packet: Uint8Array): TestRunResult {
    return inNetns(`/run/netns/${this.#netns}`, () => testRun(this.object.programFd(program), packet));
  }

  /** Packets counted so far for a reason, over all CPUs. */
  counted(direction: number, reason: number): number {
    const key = new Uint8Array(Uint32Array.of(layout.counterIndex(direction, reason)).buffer);
    const values = this.object.map(layout.maps.counters).getPerCpu(key) ?? [];
    return values.reduce((sum, value) => sum + Number(layout.counter.decode(value).packets), 0);
  }
}

/** Makes the namespace; `close` removes it. */
export async function makeTestNode(name: string): Promise<void> {
  const commands = [
    "link set lo up",
    "link add up0 type veth peer name up1",
    "link set up1 up",
    "link set up0 up",
    "address add 172.31.0.2/24 dev up0",
    "address add fd31::2/64 dev up0 nodad",
    "neigh replace 172.31.0.1 lladdr 02:00:00:00:ff:01 dev up0",
    "neigh replace fd31::1 lladdr 02:00:00:00:ff:01 dev up0",
    // Another pod network leads to this range, and only our own route to that one.
    "route add 10.244.5.0/24 via 172.31.0.1",
    "route add fd10:244:0:5::/64 via fd31::1",
    "route add 10.244.6.0/24 dev lo",
    "route add default via 172.31.0.1",
    "route add default via fd31::1 dev up0",
  ];
  await run("ip", ["netns", "add", name]);
  await run("ip", ["-n", name, "-batch", "-"], { input: `${commands.join("\n")}\n` });
  const settings = ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"];
  await run("ip", ["netns", "exec", name, "sysctl", "-qw", ...settings]);
}

/** Loads an object with fresh, filled maps; those of a folder are shared by all that are loaded with it. */
export function loadFixture(
  objectName: string,
  netns: string,
  extraFlags = 0,
  options: { mapSizes?: Readonly<Record<string, number>>; pinFolder?: string } = {},
): PacketFixture {
  const config = configOf(extraFlags);
  const object = loadObject(path.join(objects, objectName), { config, ...options });
  fillEndpoints(object);
  fillIpcache(object);
  for (const service of Object.values(testServices)) addService(object, service);
  return new PacketFixture(object, netns);
}

function fillEndpoints(object: BpfObject): void {
  const pods = [
    { addresses: ["10.244.1.5", "fd10:244:0:1::5"], ifindex: 1, mac: podMac },
    { addresses: ["10.244.1.6", "fd10:244:0:1::6"], ifindex: 7, mac: otherPodMac },
  ];
  const map = object.map(layout.maps.endpoints);
  for (const [index, pod] of pods.entries())
    for (const address of pod.addresses)
      map.set(
        addressBytes(address),
        layout.endpoint.encode({
          ifindex: pod.ifindex,
          id: index + 1,
          mac: hex(pod.mac),
          hostMac: hex("02:00:00:00:00:01"),
        }),
      );
  map.set(addressBytes("172.31.0.4"), layout.endpoint.encode({ flags: layout.endpointFlags.ENDPOINT_HOST }));
  for (const address of ["172.31.0.2", "fd31::2", "10.244.1.1", "fd10:244:0:1::1"])
    map.set(
      addressBytes(address),
      layout.endpoint.encode({
        flags: layout.endpointFlags.ENDPOINT_HOST | layout.endpointFlags.ENDPOINT_NODE_PORTS,
      }),
    );
}

function fillIpcache(object: BpfObject): void {
  const {
    IPCACHE_BESIDE,
    IPCACHE_TUNNEL,
    IPCACHE_IN_CLUSTER,
    IPCACHE_LOCAL,
    IPCACHE_NEXT_HOP,
    IPCACHE_NODE,
  } = layout.ipcacheFlags;
  const entries = [
    ["10.244.2.0/24", IPCACHE_TUNNEL | IPCACHE_IN_CLUSTER],
    ["fd10:244:0:2::/64", IPCACHE_TUNNEL | IPCACHE_IN_CLUSTER],
    ["10.244.0.0/16", IPCACHE_IN_CLUSTER],
    ["10.244.1.0/24", IPCACHE_LOCAL | IPCACHE_IN_CLUSTER],
    ["172.31.0.3/32", IPCACHE_NODE],
    ["10.244.5.0/24", IPCACHE_TUNNEL | IPCACHE_IN_CLUSTER | IPCACHE_BESIDE],
    ["fd10:244:0:5::/64", IPCACHE_TUNNEL | IPCACHE_IN_CLUSTER | IPCACHE_BESIDE],
    ["10.244.6.0/24", IPCACHE_TUNNEL | IPCACHE_IN_CLUSTER | IPCACHE_BESIDE],
    ["10.244.4.0/24", IPCACHE_NEXT_HOP | IPCACHE_IN_CLUSTER],
    ["fd10:244:0:4::/64", IPCACHE_NEXT_HOP | IPCACHE_IN_CLUSTER, "fd31::3"],
  ] as const;
  for (const [cidr, flags, node = "172.31.0.3"] of entries)
    object
      .map(layout.maps.ipcache)
      .set(
        layout.ipcachePrefix(parseCidr(cidr)),
        layout.ipcacheEntry.encode({ tunnelEndpoint: addressBytes(node), flags }),
      );
}

interface TestService {
  id: number;
  address: string;
  port: number;
  backends: string[];
  localBackends?: string[];
  flags?: number;
  affinitySeconds?: number;
  sourceRanges?: string[];
}

/** Pods of this node and of others. */
const manyPods = Array.from({ length: 20 }, (_, index) => `10.244.2.${index + 10}`);

const testServices: Record<string, TestService> = {
  local: { id: 1, address: "0.0.0.0", port: 30080, backends: ["10.244.1.5"] },
  remote: { id: 2, address: "0.0.0.0", port: 30081, backends: ["10.244.2.9"] },
  empty: { id: 3, address: "0.0.0.0", port: 30082, backends: [] },
  externalLocal: {
    id: 4,
    address: "0.0.0.0",
    port: 30083,
    backends: ["10.244.2.9"],
    flags: layout.serviceFlags.SERVICE_EXTERNAL_LOCAL,
  },
  externalIp: { id: 5, address: "198.51.100.7", port: 443, backends: ["10.244.1.6"] },
  local6: { id: 6, address: "::", port: 30080, backends: ["fd10:244:0:1::5"] },
  outOfRange: { id: 7, address: "0.0.0.0", port: 8080, backends: ["10.244.1.5"] },
  beside: { id: 10, address: "0.0.0.0", port: 30086, backends: ["10.244.5.9"] },
  foreign: { id: 9, address: "0.0.0.0", port: 30085, backends: ["10.244.1.77"] },
  host: { id: 8, address: "0.0.0.0", port: 30084, backends: ["172.31.0.2"] },
  empty6: { id: 11, address: "::", port: 30082, backends: [] },
  ranges: {
    id: 12,
    address: "198.51.100.8",
    port: 443,
    backends: ["10.244.1.6"],
    flags: layout.serviceFlags.SERVICE_SOURCE_RANGES,
    sourceRanges: ["192.0.2.64/26"],
  },
  remote6: { id: 23, address: "::", port: 30081, backends: ["fd10:244:0:2::9"] },
  clusterLocal: { id: 13, address: "10.96.0.1", port: 80, backends: ["10.244.1.6"] },
  clusterRemote: { id: 14, address: "10.96.0.2", port: 80, backends: ["10.244.2.9"] },
  clusterSelf: { id: 15, address: "10.96.0.3", port: 80, backends: ["10.244.1.5"] },
  clusterEmpty: { id: 16, address: "10.96.0.4", port: 80, backends: [] },
  clusterHost: { id: 17, address: "10.96.0.5", port: 80, backends: ["172.31.0.2"] },
  clusterNode: { id: 18, address: "10.96.0.6", port: 80, backends: ["172.31.0.3"] },
  cluster6: { id: 19, address: "fd96::1", port: 80, backends: ["fd10:244:0:1::6"] },
  many: { id: 20, address: "198.51.100.9", port: 80, backends: manyPods },
  sticky: { id: 21, address: "198.51.100.10", port: 80, backends: manyPods, affinitySeconds: 600 },
  stickyLocal: {
    id: 22,
    address: "198.51.100.11",
    port: 80,
    backends: manyPods,
    localBackends: ["10.244.1.6", "10.244.1.5"],
    affinitySeconds: 600,
    flags: layout.serviceFlags.SERVICE_EXTERNAL_LOCAL,
  },
};

function addService(object: BpfObject, service: TestService): void {
  const { id, backends, localBackends = [], sourceRanges = [], affinitySeconds = 0 } = service;
  const generation = 1;
  const all = [...backends, ...localBackends];
  const idOf = (address: string): number => id * 100 + all.indexOf(address);
  for (const [slot, address] of all.entries())
    object
      .map(layout.maps.backends)
      .set(
        layout.backendKey.encode({ serviceId: id, generation, slot }),
        layout.backend.encode({ address: addressBytes(address), port: 8080, id: idOf(address) }),
      );
  if (affinitySeconds > 0)
    for (const address of all)
      object.map(layout.maps.members).set(
        layout.memberKey.encode({ serviceId: id, generation, backendId: idOf(address) }),
        layout.member.encode({
          cluster: backends.indexOf(address) + 1,
          local: localBackends.indexOf(address) + 1,
        }),
      );
  for (const text of sourceRanges) {
    const { bytes, prefix } = parseCidr(text);
    object
      .map(layout.maps.sourceRanges)
      .set(
        layout.sourceRangeKey.encode({ prefixLength: 32 + 96 + prefix, serviceId: id, address: bytes }),
        Uint8Array.of(1),
      );
  }
  const tableSize = service === testServices.many ? maglevSize(backends.length) : 0;
  const named = backends.map((name) => ({ name, weight: 1 }));
  const table = tableSize === 0 ? new Uint16Array() : maglevTable(named, tableSize);
  for (let chunk = 0; chunk * layout.maglevChunkSize < tableSize; chunk++) {
    const slots = new Uint16Array(layout.maglevChunkSize);
    slots.set(table.subarray(chunk * layout.maglevChunkSize, (chunk + 1) * layout.maglevChunkSize));
    object
      .map(layout.maps.maglev)
      .set(
        layout.maglevKey.encode({ serviceId: id, generation, chunk }),
        layout.maglevChunk.encode({ slot: new Uint8Array(slots.buffer) }),
      );
  }
  for (const protocol of [6, 17, 132])
    object.map(layout.maps.services).set(
      layout.serviceKey.encode({ address: addressBytes(service.address), port: service.port, protocol }),
      layout.service.encode({
        id,
        generation,
        backendCount: backends.length,
        localCount: localBackends.length,
        flags: service.flags ?? 0,
        tableSize,
        affinitySeconds,
      }),
    );
}
