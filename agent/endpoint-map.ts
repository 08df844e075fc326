// SPDX-License-Identifier: Apache-2.0
import { addressBytes, addressText } from "../lib/addresses.ts";
import { endpointFlags, endpoint as layout } from "./datapath-layout.ts";
import type { Endpoint } from "./endpoint-store.ts";
import type { BpfMap } from "./libbpf.ts";
import { macBytes } from "./pod-link.ts";

/** Makes a pod known to the programs: from now on packets reach it. */
export function publishEndpoint(map: BpfMap, endpoint: Endpoint, ifindex: number, identity = 0): void {
  const value = layout.encode({
    ifindex,
    id: endpoint.id,
    identity,
    mac: macBytes(endpoint.mac),
    hostMac: macBytes(endpoint.hostMac),
  });
  for (const address of endpoint.addresses) map.set(addressBytes(address), value);
}

/** Removes a pod, but not what another pod wrote there meanwhile. */
export function withdrawEndpoint(map: BpfMap, endpoint: Endpoint): void {
  for (const address of endpoint.addresses) {
    const key = addressBytes(address);
    const value = map.get(key);
    if (value !== undefined && layout.decode(value).id === endpoint.id) map.delete(key);
  }
}

export function isPublished(map: BpfMap, endpoint: Endpoint): boolean {
  return endpoint.addresses.every((address) => {
    const value = map.get(addressBytes(address));
    return value !== undefined && layout.decode(value).id === endpoint.id;
  });
}

/** The number by which the programs know a pod; 0 when there is none. */
export function publishedIdentity(map: BpfMap, { addresses: [address] }: Endpoint): number {
  const value = address === undefined ? undefined : map.get(addressBytes(address));
  return value === undefined ? 0 : layout.decode(value).identity;
}

/** Gives a pod that is published another number. */
export function identifyEndpoint(map: BpfMap, endpoint: Endpoint, identity: number): void {
  for (const address of endpoint.addresses) {
    const key = addressBytes(address);
    const value = map.get(key);
    if (value === undefined) continue;
    const known = layout.decode(value);
    if (known.id === endpoint.id && known.identity !== identity)
      map.set(key, layout.encode({ ...known, identity }));
  }
}

/** Makes the map hold these pods and these addresses of the node, and nothing else. Returns what was removed. */
export function pruneEndpoints(
  map: BpfMap,
  endpoints: readonly Endpoint[],
  own: ReadonlySet<string>,
): string[] {
  const wanted = new Set([...endpoints.flatMap((endpoint) => endpoint.addresses), ...own]);
  const removed: string[] = [];
  for (const [key] of map.entries()) {
    const address = addressText(key);
    if (!wanted.has(address) && map.delete(key)) removed.push(address);
  }
  return removed;
}

/** Enters the node's own addresses, and on which of them node ports answer. */
export function publishOwnAddresses(
  map: BpfMap,
  addresses: Iterable<string>,
  hasNodePorts: (address: string) => boolean,
): void {
  const { ENDPOINT_HOST, ENDPOINT_NODE_PORTS } = endpointFlags;
  for (const address of addresses) {
    const flags = ENDPOINT_HOST | (hasNodePorts(address) ? ENDPOINT_NODE_PORTS : 0);
    map.set(addressBytes(address), layout.encode({ flags }));
  }
}
