// SPDX-License-Identifier: Apache-2.0
import { addressBytes, addressText, type Family } from "../lib/addresses.ts";
import type { MapName } from "./datapath.ts";
import {
  backendKey,
  backend as backendLayout,
  endpointFlags,
  endpoint as endpointLayout,
  lbStats,
  lbStatsKey,
  maglevChunk,
  maglevChunkSize,
  maglevKey,
  memberKey,
  serviceFlags,
  serviceKey,
  service as serviceLayout,
  sourceRangeKey,
} from "./datapath-layout.ts";
import type { ServiceGroup } from "./service-model.ts";

/** A map as the view reads it; a per-CPU map's value is that of all CPUs. */
interface ReadMap {
  get(key: Uint8Array): Uint8Array | undefined;
  entries(): [key: Uint8Array, value: Uint8Array][];
}

/** Finds a map at each use: loading the programs again closes the handles of before. */
export type MapOf = (name: MapName) => ReadMap;

/** What a frontend's address is, as far as the maps and the agent tell. */
type FrontendKind = "ClusterIP" | "ExternalIP/LoadBalancer" | "NodePort" | "HostPort" | "unknown";

/** An entry of sh_services. */
export interface FrontendView {
  /** The unspecified address for a port of the node's addresses. */
  address: string;
  port: number;
  kind: FrontendKind;
  flags: FlagWord[];
  /** Where a port of the node's addresses answers on this node. */
  nodeAddresses?: string[];
}

/** A backend with the lists that it is in. */
export interface BackendView {
  address: string;
  port: number;
  /** Its number in the statistics. */
  id: number;
  policy: "cluster" | "local" | "both";
  /** Entries of the Maglev table that lead to it. */
  tableEntries: number;
  /** How often it was chosen on this node. */
  connections: number;
}

/** One port of a Service in one family, or one host port of a pod, as it is in this node's maps. */
export interface ServiceView {
  /** What it was made of; unknown is what the agent did not write since it started. */
  kind: "Service" | "Pod" | "unknown";
  namespace: string;
  name: string;
  portName: string;
  protocol: string;
  family: Family;
  /** Its number in the maps; 0 when it is not there. */
  id: number;
  /** Which set of backend slots is the current one. */
  generation: number;
  frontends: FrontendView[];
  backends: BackendView[];
  /** Of the backends that it has now. */
  connections: number;
  /** Connects that found no backend. */
  refused: number;
  affinitySeconds: number;
  /** Entries of the Maglev table; 0 is none. */
  tableSize: number;
  sourceRanges: string[];
  /** What is missing in the maps, or could not be written, and why. */
  problems: string[];
}

const flagWords = {
  SERVICE_EXTERNAL_LOCAL: "externalTrafficPolicy Local",
  SERVICE_INTERNAL_LOCAL: "internalTrafficPolicy Local",
  SERVICE_HOST_PORT: "host port",
  SERVICE_SOURCE_RANGES: "source ranges",
  SERVICE_WEIGHTED: "weighted",
} as const satisfies Record<keyof typeof serviceFlags, string>;
export type FlagWord = (typeof flagWords)[keyof typeof flagWords];

/** An entry of sh_services, decoded. */
export interface Entry {
  key: { address: string; port: number; protocol: number };
  value: ReturnType<typeof serviceLayout.decode>;
}
/** What names a service. */
export type Identity = Pick<ServiceView, "kind" | "namespace" | "name" | "portName" | "protocol" | "family">;

const unspecified = ["0.0.0.0", "::"];
const kinds: FrontendKind[] = ["ClusterIP", "ExternalIP/LoadBalancer", "NodePort", "HostPort", "unknown"];

/** The entries of a service that are still there. */
export const readEntries = (mapOf: MapOf, id: number, keys: readonly Uint8Array[]): Entry[] =>
  keys.flatMap((rawKey) => {
    const found = mapOf("sh_services").get(rawKey);
    const value = found === undefined ? undefined : serviceLayout.decode(found);
    if (value?.id !== id) return [];
    const { address, port, protocol } = serviceKey.decode(rawKey);
    return [{ key: { address: addressText(address), port, protocol }, value }];
  });

function frontendKind({ key, value }: Entry, group: ServiceGroup | undefined): FrontendKind {
  if ((value.flags & serviceFlags.SERVICE_HOST_PORT) !== 0) return "HostPort";
  if (unspecified.includes(key.address)) return "NodePort";
  // A Service's first frontend is its ClusterIP.
  const clusterIP = group?.frontends[0];
  if (clusterIP === undefined) return "unknown";
  return addressText(addressBytes(clusterIP.address)) === key.address
    ? "ClusterIP"
    : "ExternalIP/LoadBalancer";
}

/** Reads what hangs on a service's entries; what many of them share is read once. */
export class ServiceReader {
  readonly #mapOf: MapOf;
  #ranges: Map<number, string[]> | undefined;
  #ownAddresses: { address: string; nodePorts: boolean }[] | undefined;

  constructor(mapOf: MapOf) {
    this.#mapOf = mapOf;
  }

  read(
    id: number,
    identity: Identity,
    entries: readonly Entry[],
    group: ServiceGroup | undefined,
    told: readonly string[],
  ): ServiceView {
    const value = entries[0]?.value;
    const problems = [...told];
    const backends = value === undefined ? [] : this.#backends(value, problems);
    const hasRanges = entries.some(({ value: { flags } }) => flags & serviceFlags.SERVICE_SOURCE_RANGES);
    return {
      ...identity,
      id,
      generation: value?.generation ?? 0,
      frontends: this.#frontends(entries, group),
      backends,
      connections: backends.reduce((sum, { connections }) => sum + connections, 0),
      refused: value === undefined ? 0 : this.#count(id, 0),
      affinitySeconds: value?.affinitySeconds ?? 0,
      tableSize: value?.tableSize ?? 0,
      sourceRanges: hasRanges ? this.#rangesOf(id) : [],
      problems,
    };
  }

  #frontends(entries: readonly Entry[], group: ServiceGroup | undefined): FrontendView[] {
    const views = entries.map((entry): FrontendView => {
      const { address, port } = entry.key;
      const flags = (Object.keys(flagWords) as (keyof typeof flagWords)[]).filter(
        (name) => (entry.value.flags & serviceFlags[name]) !== 0,
      );
      const kind = frontendKind(entry, group);
      const view = { address, port, kind, flags: flags.map((name) => flagWords[name]) };
      return unspecified.includes(address)
        ? { ...view, nodeAddresses: this.#answering(address, kind === "NodePort") }
        : view;
    });
    const order = ({ kind, address, port }: FrontendView): string =>
      `${kinds.indexOf(kind)} ${address} ${port}`;
    return views.toSorted((a, b) => (order(a) < order(b) ? -1 : 1));
  }

  /** The backends of a generation, in the order of their slots; what is missing is added to `problems`. */
  #backends(service: Entry["value"], problems: string[]): BackendView[] {
    const { id: serviceId, generation, backendCount, localCount, affinitySeconds } = service;
    const byId = new Map<number, BackendView>();
    const inTable = this.#tableEntries(service, problems);
    const count = backendCount + localCount;
    let missing = 0;
    for (let slot = 0; slot < count; slot++) {
      const found = this.#mapOf("sh_backends").get(backendKey.encode({ serviceId, generation, slot }));
      if (found === undefined) {
        missing++;
        continue;
      }
      const { address, port, id } = backendLayout.decode(found);
      const policy = slot < backendCount ? "cluster" : "local";
      const seen = byId.get(id);
      if (seen !== undefined) {
        seen.tableEntries += inTable[slot] ?? 0;
        if (seen.policy !== policy) seen.policy = "both";
        continue;
      }
      const connections = this.#count(serviceId, id);
      const tableEntries = inTable[slot] ?? 0;
      byId.set(id, { address: addressText(address), port, id, policy, tableEntries, connections });
    }
    if (missing > 0) problems.push(`${missing} of ${count} slots are missing in sh_backends`);
    if (affinitySeconds > 0) this.#checkMembers(serviceId, generation, [...byId.keys()], problems);
    return [...byId.values()];
  }

  /** How many entries of the Maglev table lead to each slot. */
  #tableEntries({ id, generation, backendCount, tableSize }: Entry["value"], problems: string[]): number[] {
    const counts: number[] = new Array(tableSize > 0 ? backendCount : 0).fill(0);
    let lost = 0;
    for (let first = 0; first < tableSize; first += maglevChunkSize) {
      const key = maglevKey.encode({ serviceId: id, generation, chunk: first / maglevChunkSize });
      const found = this.#mapOf("sh_maglev").get(key);
      const length = Math.min(maglevChunkSize, tableSize - first);
      const slots = found === undefined ? undefined : Buffer.from(maglevChunk.decode(found).slot);
      for (let index = 0; index < length; index++) {
        const slot = slots?.readUInt16LE(2 * index);
        if (slot !== undefined && slot < backendCount) counts[slot]!++;
        else lost++;
      }
    }
    if (lost > 0)
      problems.push(`${lost} of ${tableSize} entries of the table in sh_maglev lead to no backend`);
    return counts;
  }

  #checkMembers(serviceId: number, generation: number, ids: readonly number[], problems: string[]): void {
    const isMissing = (backendId: number): boolean =>
      this.#mapOf("sh_members").get(memberKey.encode({ serviceId, generation, backendId })) === undefined;
    const missing = ids.filter(isMissing).length;
    if (missing > 0)
      problems.push(
        `${missing} of ${ids.length} backends are missing in sh_members: no client stays with them`,
      );
  }

  #count(serviceId: number, backendId: number): number {
    const all = this.#mapOf("sh_lb_stats").get(lbStatsKey.encode({ serviceId, backendId }));
    let sum = 0n;
    // One value a CPU, each aligned to eight bytes, which is its size.
    for (let at = 0; at < (all?.length ?? 0); at += lbStats.size)
      sum += lbStats.decode(all!.subarray(at)).connections;
    return Number(sum);
  }

  #rangesOf(id: number): string[] {
    this.#ranges ??= readRanges(this.#mapOf);
    return this.#ranges.get(id) ?? [];
  }

  /** The node's own addresses, of this address's family, on which a port of the nodes answers. */
  #answering(address: string, nodePort: boolean): string[] {
    this.#ownAddresses ??= readOwnAddresses(this.#mapOf);
    return this.#ownAddresses
      .filter((own) => own.address.includes(":") === address.includes(":") && (own.nodePorts || !nodePort))
      .map((own) => own.address);
  }
}

function readRanges(mapOf: MapOf): Map<number, string[]> {
  const ranges = new Map<number, string[]>();
  for (const [key] of mapOf("sh_source_ranges").entries()) {
    const { prefixLength, serviceId, address } = sourceRangeKey.decode(key);
    const base = addressText(address);
    const text = `${base}/${prefixLength - 32 - (base.includes(":") ? 0 : 96)}`;
    ranges.set(serviceId, [...(ranges.get(serviceId) ?? []), text].toSorted());
  }
  return ranges;
}

const readOwnAddresses = (mapOf: MapOf): { address: string; nodePorts: boolean }[] =>
  mapOf("sh_endpoints")
    .entries()
    .map(([key, value]) => ({ address: addressText(key), flags: endpointLayout.decode(value).flags }))
    .filter(({ flags }) => (flags & endpointFlags.ENDPOINT_HOST) !== 0)
    .map(({ address, flags }) => ({ address, nodePorts: (flags & endpointFlags.ENDPOINT_NODE_PORTS) !== 0 }))
    .toSorted((a, b) => (a.address < b.address ? -1 : 1));
