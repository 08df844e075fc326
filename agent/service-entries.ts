// SPDX-License-Identifier: Apache-2.0
// What a group of frontends is in the service maps: keys and values.
import { addressBytes, parseCidr } from "../lib/addresses.ts";
import {
  backendKey,
  backend as backendLayout,
  maglevChunk,
  maglevChunkSize,
  maglevKey,
  memberKey,
  member as memberLayout,
  serviceKey,
  service as serviceLayout,
  sourceRangeKey,
} from "./datapath-layout.ts";
import { maglevTable } from "./maglev.ts";
import { backendOf } from "./service-flows.ts";
import type { Backend, Frontend, ServiceGroup } from "./service-model.ts";

export type Entry = [key: Uint8Array, value: Uint8Array];

/** What hangs on a group besides its slots. */
export interface Shape {
  /** Entries of the Maglev table. */
  tableSize: number;
  /** Whether sh_members has its backends. */
  hasMembers: boolean;
}

export interface Written extends Shape {
  id: number;
  generation: number;
  group: ServiceGroup;
  frontends: Map<string, Frontend>;
}

export const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
export const keyOf = ({ address, port, protocol }: Frontend): Uint8Array =>
  serviceKey.encode({ address: addressBytes(address), port, protocol });
export const sameBackends = (a: readonly Backend[], b: readonly Backend[]): boolean =>
  a.length === b.length &&
  a.every((one, index) => {
    const other = b[index]!;
    return one.address === other.address && one.port === other.port && one.weight === other.weight;
  });
export const sameFrontend = (a: Frontend, b: Frontend): boolean =>
  a.flags === b.flags && a.affinitySeconds === b.affinitySeconds;
export const wantsMembers = ({ frontends }: ServiceGroup): boolean =>
  frontends.some(({ affinitySeconds }) => affinitySeconds > 0);
export const mostSlots = 0xffff;

export const allBackends = ({ backends, localBackends }: ServiceGroup): Backend[] => [
  ...backends,
  ...localBackends,
];
export const backendNames = ({ id, group }: Written): string[] =>
  allBackends(group).map(({ address, port }) => backendOf(id, addressBytes(address), port));
/** As `backendOf`, of an `address port`. */
export function endpointOf(id: number, text: string): string {
  const [address = "", port] = text.split(" ");
  return backendOf(id, addressBytes(address), Number(port));
}
export const rangeKey = (id: number, text: string): Uint8Array => {
  const { family, prefix, bytes } = parseCidr(text);
  return sourceRangeKey.encode({
    prefixLength: 32 + prefix + (family === "ipv4" ? 96 : 0),
    serviceId: id,
    address: bytes,
  });
};

/** Finds a backend's number. */
type NumberOf = (backend: Backend, protocol: number) => number;

export const isOlder = (one: ServiceGroup, other: ServiceGroup): boolean =>
  `${one.since} ${one.key}` < `${other.since} ${other.key}`;
export const lostTo = (frontend: Frontend, owner: ServiceGroup): string =>
  `${frontendText(frontend)} is that of ${owner.key}, which is older`;

/** Entries that a group needs in each map. */
export const contentCounts = (group: ServiceGroup, { tableSize, hasMembers }: Shape) => ({
  backends: allBackends(group).length,
  maglev: Math.ceil(tableSize / maglevChunkSize),
  members: hasMembers ? new Set(allBackends(group).map(endpointText)).size : 0,
});

const frontendText = ({ address, port, protocol }: Frontend): string => {
  const name = { 6: "TCP", 17: "UDP", 132: "SCTP" }[protocol] ?? String(protocol);
  const any = address === "0.0.0.0" || address === "::";
  return any ? `port ${port}/${name} of the nodes` : `${address} port ${port}/${name}`;
};

export function encodeService({ id, generation, group, tableSize }: Written, frontend: Frontend): Uint8Array {
  return serviceLayout.encode({
    id,
    generation,
    backendCount: group.backends.length,
    localCount: Math.min(group.localBackends.length, mostSlots),
    flags: frontend.flags,
    tableSize,
    affinitySeconds: frontend.affinitySeconds,
  });
}

const endpointText = ({ address, port }: Backend): string => `${address} ${port}`;

/** Slots, those of the policy Cluster first. */
export const slotEntries = ({ id, generation, group }: Written, numberOf: NumberOf): Entry[] =>
  allBackends(group).map((backend, slot) => [
    backendKey.encode({ serviceId: id, generation, slot }),
    backendLayout.encode({
      address: addressBytes(backend.address),
      port: backend.port,
      id: numberOf(backend, group.protocol),
    }),
  ]);

/** In which slots each backend is, for services with affinity. */
export function memberEntries({ id, generation, group, hasMembers }: Written, numberOf: NumberOf): Entry[] {
  if (!hasMembers) return [];
  const slots = new Map<string, { backend: Backend; cluster: number; local: number }>();
  const add = (backends: readonly Backend[], list: "cluster" | "local"): void => {
    for (const [index, backend] of backends.entries()) {
      const text = endpointText(backend);
      slots.set(text, { ...(slots.get(text) ?? { backend, cluster: 0, local: 0 }), [list]: index + 1 });
    }
  };
  add(group.backends, "cluster");
  add(group.localBackends, "local");
  return [...slots.values()].map(({ backend, cluster, local }) => [
    memberKey.encode({ serviceId: id, generation, backendId: numberOf(backend, group.protocol) }),
    memberLayout.encode({ cluster, local }),
  ]);
}

export const maglevKeys = ({ id, generation, tableSize }: Written): Uint8Array[] =>
  Array.from({ length: Math.ceil(tableSize / maglevChunkSize) }, (_, chunk) =>
    maglevKey.encode({ serviceId: id, generation, chunk }),
  );

export function maglevEntries(written: Written): Entry[] {
  const { group, tableSize } = written;
  if (tableSize === 0) return [];
  const named = group.backends.map(({ address, port, weight }) => ({ name: `${address} ${port}`, weight }));
  const table = maglevTable(named, tableSize);
  return maglevKeys(written).map((key, chunk) => {
    const slots = new Uint16Array(maglevChunkSize);
    slots.set(table.subarray(chunk * maglevChunkSize, (chunk + 1) * maglevChunkSize));
    return [key, maglevChunk.encode({ slot: new Uint8Array(slots.buffer) })];
  });
}
