// SPDX-License-Identifier: Apache-2.0
import {
  addressBytes,
  addressText,
  type Cidr,
  cidrAddress,
  type Family,
  hostPrefix,
  parseCidr,
} from "../lib/addresses.ts";
import { errorMessage } from "../lib/errors.ts";
import type { KubeObject } from "../lib/kube-object.ts";
import { ipcacheEntry, ipcacheFlags, ipcachePrefix } from "./datapath-layout.ts";
import { reservedIdentities } from "./policy/entities.ts";

/** What the datapath needs of a Node object. */
export interface NodeFacts {
  name: string;
  /** InternalIPs by family. */
  addresses: Partial<Record<Family, string>>;
  podCIDRs: Cidr[];
  /** Label topology.kubernetes.io/zone. */
  zone?: string;
  /** On its way out of the cluster: load balancers are to send it nothing new. */
  leaving: boolean;
}

const familyOf = (address: string): Family => (address.includes(":") ? "ipv6" : "ipv4");

/** Reads a Node object. Broken addresses and CIDRs are left out and reported. */
export function nodeFacts(node: KubeObject, onBroken: (why: string) => void = () => undefined): NodeFacts {
  const addresses: NodeFacts["addresses"] = {};
  for (const { type, address } of node.status?.addresses ?? []) {
    if (type !== "InternalIP") continue;
    try {
      addressBytes(address);
      addresses[familyOf(address)] ??= address;
    } catch (error) {
      onBroken(errorMessage(error));
    }
  }
  const texts: string[] = node.spec?.podCIDRs ?? (node.spec?.podCIDR ? [node.spec.podCIDR] : []);
  const podCIDRs = texts.flatMap((text) => {
    try {
      return [parseCidr(text)];
    } catch (error) {
      onBroken(errorMessage(error));
      return [];
    }
  });
  const zone = node.metadata.labels?.["topology.kubernetes.io/zone"];
  return {
    name: node.metadata.name ?? "",
    addresses,
    podCIDRs,
    ...(zone === undefined ? {} : { zone }),
    leaving: node.metadata.deletionTimestamp !== undefined || (node.spec?.taints ?? []).some(isLeaving),
  };
}

/** The taint that kube-proxy looks at too (KEP-3836). */
const isLeaving = ({ key }: { key?: string }): boolean => key === "ToBeDeletedByClusterAutoscaler";

/** The address by which a node is reached from this one: in the family that both have, IPv4 first. */
export function underlayAddress(own: NodeFacts, other: NodeFacts): string | undefined {
  for (const family of ["ipv4", "ipv6"] as const)
    if (own.addresses[family] !== undefined && other.addresses[family] !== undefined)
      return other.addresses[family];
  return undefined;
}

/** A node's own address in a pod CIDR of its: the first one. */
export const gatewayOf = (cidr: Cidr): string => addressText(cidrAddress(cidr, 1));

/** Addresses that are a node itself: its own, and those by which it speaks to pods. */
export const nodeAddresses = ({ addresses, podCIDRs }: Pick<NodeFacts, "addresses" | "podCIDRs">): string[] =>
  [...Object.values(addresses), ...podCIDRs.map(gatewayOf)].map((one) => addressText(addressBytes(one)));

const wholeAddress = (address: string): Cidr => parseCidr(hostPrefix(address));

/** The entries that sh_ipcache should hold, by key in hex. */
export function ipcacheEntries(
  own: NodeFacts,
  others: readonly NodeFacts[],
  options: {
    routing: "vxlan" | "direct";
    clusterPodCIDRs: readonly string[];
    ownAddresses: Iterable<string>;
    /** Whether a node's address needs no router. */
    isNeighbour: (address: string) => boolean;
    /** Whether another pod network still carries what goes to this node's CIDR. */
    isBeside?: (other: NodeFacts, cidr: Cidr) => boolean;
    /** Whether node ports answer on a node's address; without it on all. */
    hasNodePorts?: (node: NodeFacts, address: string) => boolean;
  },
): Map<string, { key: Uint8Array; value: Uint8Array }> {
  const {
    IPCACHE_BESIDE,
    IPCACHE_IN_CLUSTER,
    IPCACHE_LOCAL,
    IPCACHE_NEXT_HOP,
    IPCACHE_NODE,
    IPCACHE_TUNNEL,
  } = ipcacheFlags;
  const entries = new Map<string, { key: Uint8Array; value: Uint8Array }>();
  const put = (cidr: Cidr, flags: number, tunnelEndpoint?: string, identity = 0) => {
    const key = ipcachePrefix(cidr);
    const endpoint = tunnelEndpoint === undefined ? {} : { tunnelEndpoint: addressBytes(tunnelEndpoint) };
    entries.set(Buffer.from(key).toString("hex"), {
      key,
      value: ipcacheEntry.encode({ flags, identity, ...endpoint }),
    });
  };
  for (const text of options.clusterPodCIDRs) put(parseCidr(text), IPCACHE_IN_CLUSTER);
  for (const cidr of own.podCIDRs) put(cidr, IPCACHE_IN_CLUSTER | IPCACHE_LOCAL);
  const portsOf = (node: NodeFacts, address: string): number =>
    options.hasNodePorts?.(node, address) === false ? 0 : IPCACHE_NODE;
  for (const address of options.ownAddresses) put(wholeAddress(address), portsOf(own, address));
  const direct = options.routing === "direct";
  for (const other of others) {
    const via = underlayAddress(own, other);
    if (via === undefined) continue;
    for (const cidr of other.podCIDRs) {
      const hop = direct ? other.addresses[cidr.family] : undefined;
      if (hop !== undefined && options.isNeighbour(hop))
        put(cidr, IPCACHE_IN_CLUSTER | IPCACHE_NEXT_HOP, hop);
      else if (direct) put(cidr, IPCACHE_IN_CLUSTER, via);
      else if (options.isBeside?.(other, cidr) === true) {
        put(cidr, IPCACHE_IN_CLUSTER | IPCACHE_TUNNEL | IPCACHE_BESIDE, via);
        // The address with which that node speaks to pods that are ours, by our overlay.
        put(wholeAddress(gatewayOf(cidr)), IPCACHE_IN_CLUSTER | IPCACHE_TUNNEL, via);
      } else put(cidr, IPCACHE_IN_CLUSTER | IPCACHE_TUNNEL, via);
    }
    for (const address of Object.values(other.addresses))
      put(
        wholeAddress(address),
        portsOf(other, address) | (direct ? IPCACHE_IN_CLUSTER : 0),
        address,
        reservedIdentities["remote-node"],
      );
  }
  return entries;
}

const firstPort = 1024;
const lastPort = 65_535;
/** Where nobody's own ports are on most machines, if all others are taken. */
const lastResort = { min: 61_000, max: lastPort };

/**
 * The widest range of ports that neither the node's own connections (net.ipv4.ip_local_port_range) nor node ports nor
 * the overlay use: source ports of what is masqueraded. It bounds the connections to one address and port at a time.
 */
export function masqueradePorts(taken: readonly (readonly [first: number, last: number])[]): {
  min: number;
  max: number;
} {
  let widest = { min: 0, max: -1 };
  let from = firstPort;
  for (const [first, last] of [...taken, [lastPort + 1, lastPort + 1] as const].toSorted(
    ([a], [b]) => a - b,
  )) {
    if (first - from > widest.max - widest.min + 1) widest = { min: from, max: first - 1 };
    from = Math.max(from, last + 1);
  }
  return widest.max - widest.min + 1 < 1024 ? lastResort : widest;
}
