// SPDX-License-Identifier: Apache-2.0
// TypeScript mirror of bpf/shunt.h. datapath-layout.test.ts compares every struct and enum with the objects' BTF.
import { be16, bytes, type StructLayout, struct, u8, u16, u32, u64 } from "./struct-layout.ts";

/**
 * Version of the pinned layout, part of the pin path (`/sys/fs/bpf/shunt/<version>/maps/…`). Raise it whenever a
 * map's key or value changes: the kernel refuses to reuse a map of another size.
 */
export const layoutVersion = "v4";

/** 16 bytes, network order, IPv4 mapped: what lib/addresses.ts `addressBytes()` returns. */
const address = bytes(16, 4);
const mac = bytes(6);

export const endpointFlags = { ENDPOINT_HOST: 1, ENDPOINT_NODE_PORTS: 2 } as const;
export const ipcacheFlags = {
  IPCACHE_TUNNEL: 1,
  IPCACHE_IN_CLUSTER: 2,
  IPCACHE_NODE: 4,
  IPCACHE_NEXT_HOP: 8,
  IPCACHE_LOCAL: 16,
  IPCACHE_BESIDE: 32,
} as const;
export const serviceFlags = {
  SERVICE_EXTERNAL_LOCAL: 1,
  SERVICE_INTERNAL_LOCAL: 2,
  SERVICE_HOST_PORT: 4,
  SERVICE_SOURCE_RANGES: 8,
  SERVICE_WEIGHTED: 16,
} as const;
export const natFlags = {
  NAT_REVERSE: 1,
  NAT_SERVICE: 2,
  NAT_CLOSING: 4,
  NAT_REPLIED: 8,
  NAT_FOREIGN: 16,
  NAT_ENDED: 32,
  NAT_DSR: 64,
} as const;
/** Seconds without a packet after which a flow is given up. */
export const flowTimeouts = {
  FLOW_TIMEOUT_TCP: 86_400,
  FLOW_TIMEOUT_TCP_CLOSING: 3_600,
  FLOW_TIMEOUT_OTHER: 180,
  FLOW_TIMEOUT_UNREPLIED: 60,
  FLOW_TIMEOUT_ENDED: 2,
} as const;
/** Keys of `sh_flow_stats`. */
export const flowStats = { FLOW_MADE: 0, FLOW_REMOVED: 1, FLOW_COLLECTED: 2, FLOW_STATS: 3 } as const;
export const configFlags = {
  CONFIG_TUNNEL: 1,
  CONFIG_MASQUERADE: 2,
  CONFIG_SET_RETVAL: 4,
  CONFIG_NODE_PORTS: 8,
  CONFIG_HANDOVER: 16,
  CONFIG_POD_SERVICES: 32,
  CONFIG_DSR_TCP: 64,
  CONFIG_DSR_UDP: 128,
  CONFIG_POLICY: 256,
} as const;
/** In a word of `sh_policy_of`, below the number of the set. */
export const policyFlags = { POLICY_INGRESS: 1, POLICY_EGRESS: 2, POLICY_AUDIT: 4 } as const;
/** Bits of a word that are flags; endpoint ids are below the second number. */
export const policyFlagBits = 3;
/** The node itself as an endpoint of policies. */
export const policyHost = 0;
export const policyEndpoints = 16_384;
/** The identity under which a set keeps the table for those whom it does not name. */
export const policyEverybody = 0xffff_ffff;
export const policyActions = { POLICY_DENY: 0, POLICY_ALLOW: 1, POLICY_UNLESS: 2 } as const;
export const policyPrefixKinds = {
  POLICY_PREFIX_WORLD: 0,
  POLICY_PREFIX_POD: 1,
  POLICY_PREFIX_IPV6: 2,
} as const;
export const policyFlowFlags = {
  POLICY_FLOW_REPLIED: 1,
  POLICY_FLOW_FIN: 2,
  POLICY_FLOW_REPLY_FIN: 4,
  POLICY_FLOW_ENDED: 8,
} as const;
export const directions = { DIRECTION_INGRESS: 0, DIRECTION_EGRESS: 1, DIRECTION_COUNT: 2 } as const;
/** As Hubble numbers them. */
export const verdicts = {
  VERDICT_FORWARDED: 1,
  VERDICT_DROPPED: 2,
  VERDICT_AUDIT: 4,
  VERDICT_REDIRECTED: 5,
  VERDICT_TRANSLATED: 7,
} as const;
/** Below 130: where it was forwarded; from 130 on: why it was dropped (Hubble's DropReason numbers). */
export const reasons = {
  FORWARD_LOCAL: 1,
  FORWARD_OVERLAY: 2,
  FORWARD_DIRECT: 3,
  FORWARD_WORLD: 4,
  FORWARD_HOST: 5,
  FORWARD_STACK: 6,
  FORWARD_TO_POD: 7,
  FORWARD_MASQUERADED: 8,
  FORWARD_SERVICE: 9,
  FORWARD_REVERSE: 10,
  FORWARD_REJECTED: 11,
  FORWARD_TURNED: 12,
  FORWARD_AUDITED: 13,
  DROP_INVALID_SOURCE_MAC: 130,
  DROP_INVALID_SOURCE_IP: 132,
  DROP_POLICY_DENIED: 133,
  DROP_INVALID_PACKET: 134,
  DROP_TRUNCATED: 135,
  DROP_UNSUPPORTED_L3: 139,
  DROP_UNKNOWN_L4: 142,
  DROP_UNKNOWN_TARGET: 150,
  DROP_TRANSLATE_FAILED: 155,
  DROP_FRAGMENT: 157,
  DROP_NO_BACKEND: 158,
  DROP_NAT_NO_PORT: 167,
  DROP_FIB_FAILED: 169,
  DROP_INVALID_IDENTITY: 171,
  DROP_UNKNOWN_SENDER: 172,
  DROP_SOURCE_RANGE: 177,
} as const;
/** Reasons from this number on are drops. */
export const firstDropReason = 130;
/** Entries of `sh_counters` per direction. */
export const counterReasons = 256;

/** C enums by name, for the layout test. */
export const enums = {
  endpoint_flag: endpointFlags,
  ipcache_flag: ipcacheFlags,
  service_flag: serviceFlags,
  nat_flag: natFlags,
  flow_timeout: flowTimeouts,
  flow_stat: flowStats,
  config_flag: configFlags,
  policy_flag: policyFlags,
  policy_action: policyActions,
  policy_prefix_kind: policyPrefixKinds,
  policy_flow_flag: policyFlowFlags,
  direction: directions,
  verdict: verdicts,
  reason: reasons,
} as const;

/** Key of `sh_endpoints`. */
export const addressKey = struct("address", { word: address });

/**
 * Value of `sh_endpoints` (key: address). Write one per pod address (a dual-stack pod has two) after its veth
 * exists and before its program is attached; delete it with the pod. Write one with ENDPOINT_HOST for every
 * address of the node itself: uplink addresses, the gateway addresses, the VXLAN device's. `ifindex` is the host
 * side of the pair, `mac` the pod's side, `hostMac` the host's side. A packet from a pod is dropped unless its
 * source address has an entry with the ifindex it came in by.
 */
export const endpoint = struct("endpoint", {
  ifindex: u32,
  id: u32,
  identity: u32,
  mac,
  hostMac: mac,
  flags: u16,
  reserved: u16,
});

/** Key of `sh_ipcache`: build it with `ipcachePrefix()`. */
export const ipcacheKey = struct("ipcache_key", { prefixLength: u32, address });

/**
 * Value of `sh_ipcache`. Entries wanted:
 * - each remote node's pod CIDR: `tunnelEndpoint` = that node's address, IN_CLUSTER, and TUNNEL when routing is
 *   vxlan. With routing direct no TUNNEL, but a kernel route for the CIDR via that node, and when the node is a
 *   neighbour on the uplink NEXT_HOP, with `tunnelEndpoint` its address of the CIDR's own family;
 * - each remote node's own address (/32, /128): NODE, `tunnelEndpoint` = itself; IN_CLUSTER only with direct
 *   routing (with vxlan, pods are masqueraded towards nodes, as the underlay may not know pod addresses);
 * - this node's addresses: NODE;
 * - this node's own pod CIDRs: LOCAL and IN_CLUSTER (an address there that is no endpoint is left to the stack);
 * - the whole cluster pod CIDRs: IN_CLUSTER (unknown pods of other nodes are then not masqueraded).
 */
export const ipcacheEntry = struct("ipcache_entry", {
  tunnelEndpoint: address,
  identity: u32,
  flags: u16,
  reserved: u16,
});

/**
 * Key of `sh_services`: (ClusterIP, port), (externalIP or load balancer IP, port), and for a NodePort the family's
 * unspecified address (`::ffff:0.0.0.0` or `::`) with the node port; likewise a hostPort without hostIP (flag
 * SERVICE_HOST_PORT on its value). `protocol` is the IANA number.
 */
export const serviceKey = struct("service_key", { address, port: be16, protocol: u8, reserved: u8 });

/**
 * Value of `sh_services`. To change backends without a gap: write the slots of `sh_backends` under (id, generation
 * + 1), `backendCount` of them for the policy Cluster and then `localCount` for Local, with what `sh_maglev` and
 * `sh_members` hold of that generation; then this value with the new generation and counts (one atomic update); then
 * delete what the old generation had. `id` is shared by all keys with the same backends (ClusterIP and NodePort of one
 * service port), but each key's value must be updated before old slots go. No backends: write the value with counts of
 * 0, so that clients are refused.
 */
export const service = struct("service", {
  id: u32,
  generation: u32,
  backendCount: u16,
  localCount: u16,
  flags: u16,
  tableSize: u16,
  affinitySeconds: u32,
});

/** Key of `sh_backends`. */
export const backendKey = struct("backend_key", { serviceId: u32, generation: u32, slot: u32 });

/** Value of `sh_backends`; `id` is a number from 1 on that stays the same for one (address, port, protocol). */
export const backend = struct("backend", { address, port: be16, flags: u16, id: u32 });

/** Entries of a Maglev table in one value of `sh_maglev`. */
export const maglevChunkSize = 256;
/** Key of `sh_maglev`: entry e of a service's table is in chunk e / 256. */
export const maglevKey = struct("maglev_key", { serviceId: u32, generation: u32, chunk: u32 });
/** Value of `sh_maglev`: 256 slot numbers of two bytes in the machine's order. */
export const maglevChunk = struct("maglev_chunk", { slot: bytes(2 * maglevChunkSize, 2) });

/** Key of `sh_members`: written for services with affinity only. */
export const memberKey = struct("member_key", { serviceId: u32, generation: u32, backendId: u32 });
/** Value of `sh_members`: slot + 1 in the list of either policy, 0 when it is not there. */
export const member = struct("member", { cluster: u16, local: u16 });

/** Key of `sh_affinity` (LRU), written by the programs. */
export const affinityKey = struct("affinity_key", { client: address, serviceId: u32, isSocket: u32 });
export const affinity = struct("affinity", { lastUsedNs: u64, backendId: u32, reserved: u32 });

/** Key of `sh_source_ranges` (LPM trie; the value is one byte): `prefixLength` counts the service id's 32 bits too. */
export const sourceRangeKey = struct("source_range_key", { prefixLength: u32, serviceId: u32, address });

/** Key of `sh_lb_stats` (per CPU, LRU); backendId 0 counts connects that found no backend. */
export const lbStatsKey = struct("lb_stats_key", { serviceId: u32, backendId: u32 });
export const lbStats = struct("lb_stats", { connections: u64 });

export const tuple = struct("tuple", {
  source: address,
  destination: address,
  sourcePort: be16,
  destinationPort: be16,
  protocol: u8,
  reserved: bytes(3),
});

/**
 * Value of `sh_nat` (key: tuple), written by the programs; agent/service-flows.ts removes what leads to UDP backends
 * that are gone, else old clients would keep sending to them.
 */
export const natEntry = struct("nat_entry", {
  to: tuple,
  lastSeenNs: u64,
  serviceId: u32,
  backendId: u32,
  flags: u32,
  reserved: u32,
});

export const fragmentKey = struct("fragment_key", {
  source: address,
  destination: address,
  id: u32,
  protocol: u8,
  reserved: bytes(3),
});
export const fragmentPorts = struct("fragment_ports", { sourcePort: be16, destinationPort: be16 });

/** Key of `sh_socket_nat`, written by the socket programs; its UDP entries go with their backends too. */
export const socketNatKey = struct("socket_nat_key", {
  cookie: u64,
  address,
  port: be16,
  protocol: u8,
  reserved: bytes(5),
});
export const socketNat = struct("socket_nat", { address, port: be16, reserved: u16, serviceId: u32 });

/**
 * Key of `sh_policy_tables`. To change an endpoint's policy without a moment of half
 * of it: write the tables of a new set, then the endpoint's word in `sh_policy_of` (key u32 endpoint id, value u32), and
 * only when no packet can still be judged by the old set, remove that.
 */
export const policyTableKey = struct("policy_table_key", { set: u32, identity: u32, direction: u32 });

/**
 * Value of `sh_policy_tables`: bit n of `lengths` is set when ports of the table are named by their first n bits. `networks` is 1
 * when some addresses have another table.
 */
export const policyTable = struct("policy_table", {
  ...{ table: u32, lengths: u32, rule: u32, action: u32 },
  networks: u32,
});

/** Key of `sh_policy_networks`, value as of `sh_policy_tables`: `prefixLength` counts the 64 bits before the address too. */
export const policyNetworkKey = struct("policy_network_key", {
  ...{ prefixLength: u32, table: u32, ipVersion: u32 },
  address,
});

/** Key of `sh_policy_ports`: `bits` is 16 for one port, 0 for a whole protocol; those of `port` beyond them are zero. */
export const policyPortKey = struct("policy_port_key", { table: u32, port: be16, bits: u8, protocol: u8 });
export const policyVerdict = struct("policy_verdict", { rule: u32, action: u32 });

/** Key of `sh_policy_prefixes`: `prefixLength` counts the kind's 32 bits too; the value is an identity, u32. */
export const policyPrefixKey = struct("policy_prefix_key", { prefixLength: u32, kind: u32, address });

/** Value of `sh_policy_flows` (key: tuple), written by the programs. Numbers by direction, four bytes each. */
export const policyFlow = struct("policy_flow", {
  lastSeenNs: u64,
  word: bytes(8, 4),
  rule: bytes(8, 4),
  flags: u32,
  reserved: u32,
});

/** Key of `sh_policy_denials`, written by the programs. */
export const policyDenialKey = struct("policy_denial_key", {
  peer: address,
  endpoint: u32,
  identity: u32,
  word: u32,
  direction: u8,
  protocol: u8,
  port: be16,
});
export const policyDenial = struct("policy_denial", {
  packets: u64,
  lastSeenNs: u64,
  rule: u32,
  reserved: u32,
});

/** Value of `sh_counters` (per-CPU array, key u32 = direction * 256 + reason). */
export const counter = struct("counter", { packets: u64, bytes: u64 });

/**
 * The read-only configuration of every object (its .rodata): encode it and hand it to `loadObject`. Changing it
 * means loading the objects again and updating the links, which loses no packet. Ports are host order here.
 * - `nodeAddress4/6`: source of masqueraded packets, normally the node's InternalIPs; zero when without;
 * - `gateway4/6`: first address of the node's pod CIDRs;
 * - `tunnelMtu`: MTU of the VXLAN device (uplink MTU − 50 for IPv4 underlay, − 70 for IPv6);
 * - `uplinkIfindex`, `uplinkMtu`: the device on which the next hops of NEXT_HOP entries are;
 * - `masqueradePortMin/Max`: must overlap neither net.ipv4.ip_local_port_range nor node ports (`masqueradePorts`);
 * - `hostNetnsCookie`: `netnsCookie()` of libbpf.ts, called in the node's namespace.
 */
export const config = struct("config", {
  nodeAddress4: address,
  nodeAddress6: address,
  gateway4: address,
  gateway6: address,
  hostNetnsCookie: u64,
  flags: u32,
  tunnelIfindex: u32,
  tunnelMtu: u32,
  uplinkIfindex: u32,
  uplinkMtu: u32,
  localIdentityHost: u32,
  tunnelPort: u16,
  nodePortMin: u16,
  nodePortMax: u16,
  masqueradePortMin: u16,
  masqueradePortMax: u16,
  reserved: bytes(6),
});

/** Every shared struct, for the layout test. */
export const structs: readonly StructLayout<any>[] = [
  addressKey,
  endpoint,
  ipcacheKey,
  ipcacheEntry,
  serviceKey,
  service,
  backendKey,
  backend,
  maglevKey,
  maglevChunk,
  memberKey,
  member,
  affinityKey,
  affinity,
  sourceRangeKey,
  lbStatsKey,
  lbStats,
  tuple,
  natEntry,
  fragmentKey,
  fragmentPorts,
  socketNatKey,
  socketNat,
  policyTableKey,
  policyTable,
  policyNetworkKey,
  policyPortKey,
  policyVerdict,
  policyPrefixKey,
  policyFlow,
  policyDenialKey,
  policyDenial,
  counter,
  config,
];

/** Names of the pinned maps. */
export const maps = {
  endpoints: "sh_endpoints",
  ipcache: "sh_ipcache",
  services: "sh_services",
  backends: "sh_backends",
  maglev: "sh_maglev",
  members: "sh_members",
  affinity: "sh_affinity",
  sourceRanges: "sh_source_ranges",
  lbStats: "sh_lb_stats",
  nat: "sh_nat",
  translated: "sh_translated",
  flowStats: "sh_flow_stats",
  fragments: "sh_fragments",
  socketNat: "sh_socket_nat",
  policyOf: "sh_policy_of",
  policyTables: "sh_policy_tables",
  policyNetworks: "sh_policy_networks",
  policyPorts: "sh_policy_ports",
  policyPrefixes: "sh_policy_prefixes",
  policyFlows: "sh_policy_flows",
  policyDenials: "sh_policy_denials",
  counters: "sh_counters",
} as const;

/** Where a program belongs. */
export interface ProgramPlace {
  /** Object file below build/bpf/. */
  object: string;
  /** Function in C, which is the program's name. */
  program: string;
  /** For tc programs: `ingress` or `egress` of the device; for socket programs the cgroup attach type. */
  hook: "ingress" | "egress" | "xdp" | CgroupHook;
  /** Which device or cgroup to attach to; the driver of an uplink only where it is wanted. */
  on: "pod host veth" | "vxlan" | "uplink" | "uplink driver" | "cgroup";
}

export type CgroupHook =
  | "connect4"
  | "connect6"
  | "sendmsg4"
  | "sendmsg6"
  | "recvmsg4"
  | "recvmsg6"
  | "getpeername4"
  | "getpeername6";

/**
 * Every program and where it is attached. Forwarding must be on (net.ipv4.ip_forward, ipv6 all/forwarding), and
 * the VXLAN device made with `ip link add shunt_vxlan type vxlan external dstport PORT`, up, `arp off`, MTU
 * `tunnelMtu`, with kernel routes for the remote pod CIDRs (`dev shunt_vxlan src <gateway>`). The cgroup programs
 * go to the node's cgroup v2 root; they act on sockets created below it.
 */
export const programs: readonly ProgramPlace[] = [
  { object: "pod.bpf.o", program: "from_pod", hook: "ingress", on: "pod host veth" },
  { object: "pod.bpf.o", program: "to_pod", hook: "egress", on: "pod host veth" },
  { object: "overlay.bpf.o", program: "from_overlay", hook: "ingress", on: "vxlan" },
  { object: "overlay.bpf.o", program: "to_overlay", hook: "egress", on: "vxlan" },
  { object: "netdev.bpf.o", program: "from_netdev", hook: "ingress", on: "uplink" },
  { object: "netdev.bpf.o", program: "to_netdev", hook: "egress", on: "uplink" },
  { object: "xdp.bpf.o", program: "from_wire", hook: "xdp", on: "uplink driver" },
  ...(
    [
      "connect4",
      "connect6",
      "sendmsg4",
      "sendmsg6",
      "recvmsg4",
      "recvmsg6",
      "getpeername4",
      "getpeername6",
    ] as const
  ).map((hook) => ({ object: "socket.bpf.o", program: `sock_${hook}`, hook, on: "cgroup" as const })),
];

/** The key of a prefix; `prefix` counts bits of the address's own family (lib/addresses.ts `Cidr`). */
export function ipcachePrefix(cidr: {
  family: "ipv4" | "ipv6";
  bytes: Uint8Array;
  prefix: number;
}): Uint8Array {
  return ipcacheKey.encode({
    prefixLength: cidr.prefix + (cidr.family === "ipv4" ? 96 : 0),
    address: cidr.bytes,
  });
}

/** The index of a counter in `sh_counters`. */
export function counterIndex(direction: number, reason: number): number {
  return direction * counterReasons + reason;
}
