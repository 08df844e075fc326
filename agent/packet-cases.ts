// SPDX-License-Identifier: Apache-2.0
// The table of packets for datapath-packets.test.ts: long because it is a table, one packet an entry.
import type { reasons } from "./datapath-layout.ts";
import { buildPacket, type PacketFields, type ReadPacket } from "./packet-building.ts";
import { otherPodMac, podMac } from "./packet-fixture.ts";

/** What tc programs return. */
export const verdicts = { next: -1, drop: 2, redirect: 7 } as const;
export const syn = 0x02;

/** One packet through one program. */
export interface Case {
  /** What happens, as a sentence. */
  title: string;
  program: "from_pod" | "to_pod" | "from_netdev" | "to_netdev" | "from_overlay" | "to_overlay";
  packet: PacketFields | Uint8Array;
  verdict: keyof typeof verdicts;
  /** The counter that must go up by one; none of ours may for `null`. */
  reason: keyof typeof reasons | null;
  /** Fields that the packet must have afterwards; the others must be as before. */
  becomes?: Partial<ReadPacket>;
}

export const pod = "10.244.1.5";
export const pod6 = "fd10:244:0:1::5";
export const client = "203.0.113.9";

export const fromPod: readonly Case[] = [
  {
    title: "a packet to a pod of the same node goes there with its MACs",
    program: "from_pod",
    packet: { source: pod, destination: "10.244.1.6" },
    verdict: "redirect",
    reason: "FORWARD_LOCAL",
    becomes: { destinationMac: otherPodMac, sourceMac: "02:00:00:00:00:01", ttl: 63 },
  },
  {
    title: "the same by IPv6",
    program: "from_pod",
    packet: { source: pod6, destination: "fd10:244:0:1::6", protocol: "udp" },
    verdict: "redirect",
    reason: "FORWARD_LOCAL",
    becomes: { destinationMac: otherPodMac, sourceMac: "02:00:00:00:00:01", ttl: 63 },
  },
  {
    title: "IPv4 options are stepped over",
    program: "from_pod",
    packet: { source: pod, destination: "10.244.1.6", options: 8 },
    verdict: "redirect",
    reason: "FORWARD_LOCAL",
    becomes: { destinationMac: otherPodMac, sourceMac: "02:00:00:00:00:01", ttl: 63 },
  },
  {
    title: "beside another pod network, its route is taken",
    program: "from_pod",
    packet: { source: pod, destination: "10.244.5.9" },
    verdict: "redirect",
    reason: "FORWARD_DIRECT",
    becomes: { destinationMac: "02:00:00:00:ff:01", sourceMac: "uplink", ttl: 63 },
  },
  {
    title: "the same by IPv6",
    program: "from_pod",
    packet: { source: pod6, destination: "fd10:244:0:5::9" },
    verdict: "redirect",
    reason: "FORWARD_DIRECT",
    becomes: { destinationMac: "02:00:00:00:ff:01", sourceMac: "uplink", ttl: 63 },
  },
  {
    title: "where that network has no route (any more), the tunnel is",
    program: "from_pod",
    packet: { source: pod, destination: "10.244.6.9" },
    verdict: "redirect",
    reason: "FORWARD_OVERLAY",
    becomes: { ttl: 63 },
  },
  {
    title: "a packet to a pod of another node goes into the tunnel",
    program: "from_pod",
    packet: { source: pod, destination: "10.244.2.9" },
    verdict: "redirect",
    reason: "FORWARD_OVERLAY",
    becomes: { ttl: 63 },
  },
  {
    title: "by IPv6 too",
    program: "from_pod",
    packet: { source: pod6, destination: "fd10:244:0:2::9" },
    verdict: "redirect",
    reason: "FORWARD_OVERLAY",
    becomes: { ttl: 63 },
  },
  {
    title: "one too big for the tunnel is left to the stack, which tells the sender",
    program: "from_pod",
    packet: { source: pod, destination: "10.244.2.9", payload: new Uint8Array(1440) },
    verdict: "next",
    reason: "FORWARD_STACK",
  },
  {
    title: "cluster addresses without a tunnel are routed and keep their source",
    program: "from_pod",
    packet: { source: pod, destination: "10.244.3.9" },
    verdict: "redirect",
    reason: "FORWARD_DIRECT",
    becomes: { ttl: 63, destinationMac: "02:00:00:00:ff:01", sourceMac: "uplink" },
  },
  {
    title: "a pod of this node that another network serves is left to the stack",
    program: "from_pod",
    packet: { source: pod, destination: "10.244.1.77" },
    verdict: "next",
    reason: "FORWARD_STACK",
  },
  {
    title: "a neighbour's pods are reached without a route",
    program: "from_pod",
    packet: { source: pod, destination: "10.244.4.9" },
    verdict: "redirect",
    reason: "FORWARD_DIRECT",
    becomes: { ttl: 63 },
  },
  {
    title: "a neighbour's pods by IPv6",
    program: "from_pod",
    packet: { source: pod6, destination: "fd10:244:0:4::9", protocol: "udp" },
    verdict: "redirect",
    reason: "FORWARD_DIRECT",
    becomes: { ttl: 63 },
  },
  {
    title: "one too big for the uplink is routed, so that its sender is told",
    program: "from_pod",
    packet: { source: pod, destination: "10.244.4.9", payload: new Uint8Array(1500) },
    verdict: "next",
    reason: "FORWARD_STACK",
  },
  {
    title: "a packet to the node goes to the stack",
    program: "from_pod",
    packet: { source: pod, destination: "172.31.0.2" },
    verdict: "next",
    reason: "FORWARD_HOST",
  },
  {
    title: "a last-hop packet is left to the stack, which says time exceeded",
    program: "from_pod",
    packet: { source: pod, destination: client, ttl: 1 },
    verdict: "next",
    reason: "FORWARD_STACK",
  },
  {
    title: "another's source address is dropped",
    program: "from_pod",
    packet: { source: "10.244.1.6", destination: pod },
    verdict: "drop",
    reason: "DROP_INVALID_SOURCE_IP",
  },
  {
    title: "the node's source address is dropped",
    program: "from_pod",
    packet: { source: "172.31.0.2", destination: "10.244.1.6" },
    verdict: "drop",
    reason: "DROP_INVALID_SOURCE_IP",
  },
  {
    title: "another's MAC is dropped",
    program: "from_pod",
    packet: { source: pod, destination: "10.244.1.6", sourceMac: otherPodMac },
    verdict: "drop",
    reason: "DROP_INVALID_SOURCE_MAC",
  },
  {
    title: "a mapped IPv4 source in an IPv6 packet is dropped",
    program: "from_pod",
    packet: { source: pod6, destination: "::ffff:10.244.1.6" },
    verdict: "drop",
    reason: "DROP_INVALID_PACKET",
  },
  {
    title: "neighbour discovery passes",
    program: "from_pod",
    packet: { source: "fe80::5", destination: "ff02::1:ff00:1", protocol: "icmp", icmpType: 135 },
    verdict: "next",
    reason: "FORWARD_STACK",
  },
  {
    title: "a router advertisement from a pod does not",
    program: "from_pod",
    packet: { source: "fe80::5", destination: "ff02::1", protocol: "icmp", icmpType: 134 },
    verdict: "drop",
    reason: "DROP_INVALID_SOURCE_IP",
  },
  {
    title: "multicast is dropped",
    program: "from_pod",
    packet: { source: pod, destination: "224.0.0.251", protocol: "udp" },
    verdict: "drop",
    reason: "DROP_UNKNOWN_TARGET",
  },
  {
    title: "loopback addresses do not leave a pod",
    program: "from_pod",
    packet: { source: pod, destination: "127.0.0.1" },
    verdict: "drop",
    reason: "DROP_INVALID_PACKET",
  },
  {
    title: "an unknown protocol cannot be masqueraded",
    program: "from_pod",
    packet: { source: pod, destination: client, protocol: "other" },
    verdict: "drop",
    reason: "DROP_UNKNOWN_L4",
  },
  {
    title: "a later fragment without its first cannot be masqueraded",
    program: "from_pod",
    packet: { source: pod, destination: client, protocol: "udp", fragment: 0x0010 },
    verdict: "drop",
    reason: "DROP_FRAGMENT",
  },
  {
    title: "an unknown Ethernet type is dropped",
    program: "from_pod",
    packet: { source: pod, destination: "10.244.1.6", etherType: 0x88cc },
    verdict: "drop",
    reason: "DROP_UNSUPPORTED_L3",
  },
  {
    title: "a header length below five is dropped",
    program: "from_pod",
    packet: edited({ source: pod, destination: "10.244.1.6" }, 14, 0x44),
    verdict: "drop",
    reason: "DROP_INVALID_PACKET",
  },
  {
    title: "a length beyond the packet is dropped",
    program: "from_pod",
    packet: edited({ source: pod, destination: "10.244.1.6" }, 16, 0x40),
    verdict: "drop",
    reason: "DROP_INVALID_PACKET",
  },
  {
    title: "a cut TCP header is dropped",
    program: "from_pod",
    packet: cutTcp(),
    verdict: "drop",
    reason: "DROP_TRUNCATED",
  },
  {
    title: "extension headers without end are dropped",
    program: "from_pod",
    packet: { source: pod6, destination: "fd10:244:0:1::6", extensions: { first: 60, bytes: headers(7) } },
    verdict: "drop",
    reason: "DROP_INVALID_PACKET",
  },
  {
    title: "a packet from the stack to a pod is counted",
    program: "to_pod",
    packet: { source: "10.244.1.1", destination: pod },
    verdict: "next",
    reason: "FORWARD_TO_POD",
  },
];

export const fromNetdev: readonly Case[] = [
  {
    title: "a node port with a backend here goes to the pod and keeps the client's address",
    program: "from_netdev",
    packet: { source: client, destination: "172.31.0.2", destinationPort: 30080, tcpFlags: syn },
    verdict: "redirect",
    reason: "FORWARD_SERVICE",
    becomes: {
      destination: pod,
      destinationPort: 8080,
      destinationMac: podMac,
      sourceMac: "02:00:00:00:00:01",
      ttl: 63,
    },
  },
  {
    title: "by IPv6 too",
    program: "from_netdev",
    packet: { source: "2001:db8::9", destination: "fd31::2", destinationPort: 30080, protocol: "udp" },
    verdict: "redirect",
    reason: "FORWARD_SERVICE",
    becomes: {
      destination: pod6,
      destinationPort: 8080,
      destinationMac: podMac,
      sourceMac: "02:00:00:00:00:01",
      ttl: 63,
    },
  },
  {
    title: "an external address goes to its backend",
    program: "from_netdev",
    packet: { source: client, destination: "198.51.100.7", destinationPort: 443, tcpFlags: syn },
    verdict: "redirect",
    reason: "FORWARD_SERVICE",
    becomes: {
      destination: "10.244.1.6",
      destinationPort: 8080,
      destinationMac: otherPodMac,
      sourceMac: "02:00:00:00:00:01",
      ttl: 63,
    },
  },
  {
    title: "a backend in the node's own namespace gets it by the stack",
    program: "from_netdev",
    packet: { source: client, destination: "172.31.0.2", destinationPort: 30084, tcpFlags: syn },
    verdict: "next",
    reason: "FORWARD_SERVICE",
    becomes: { destinationPort: 8080 },
  },
  {
    title: "a backend here that another network serves gets it by the stack and sees its client",
    program: "from_netdev",
    packet: { source: client, destination: "172.31.0.2", destinationPort: 30085, tcpFlags: syn },
    verdict: "next",
    reason: "FORWARD_SERVICE",
    becomes: { destination: "10.244.1.77", destinationPort: 8080 },
  },
  {
    title: "a reset for a service without backends is not answered",
    program: "from_netdev",
    packet: { source: client, destination: "172.31.0.2", destinationPort: 30082, tcpFlags: 0x04 },
    verdict: "drop",
    reason: "DROP_NO_BACKEND",
  },
  {
    title: "a node port does not answer on an address that is left out",
    program: "from_netdev",
    packet: { source: client, destination: "172.31.0.4", destinationPort: 30080, tcpFlags: syn },
    verdict: "next",
    reason: null,
  },
  {
    title: "a client outside the source ranges is dropped",
    program: "from_netdev",
    packet: { source: client, destination: "198.51.100.8", destinationPort: 443, tcpFlags: syn },
    verdict: "drop",
    reason: "DROP_SOURCE_RANGE",
  },
  {
    title: "a client inside the source ranges is served",
    program: "from_netdev",
    packet: { source: "192.0.2.77", destination: "198.51.100.8", destinationPort: 443, tcpFlags: syn },
    verdict: "redirect",
    reason: "FORWARD_SERVICE",
    becomes: {
      destination: "10.244.1.6",
      destinationPort: 8080,
      destinationMac: otherPodMac,
      sourceMac: "02:00:00:00:00:01",
      ttl: 63,
    },
  },
  {
    title: "externalTrafficPolicy Local without a backend here drops",
    program: "from_netdev",
    packet: { source: client, destination: "172.31.0.2", destinationPort: 30083, tcpFlags: syn },
    verdict: "drop",
    reason: "DROP_NO_BACKEND",
  },
  {
    title: "a port outside the node port range is the node's own",
    program: "from_netdev",
    packet: { source: client, destination: "172.31.0.2", destinationPort: 8080, tcpFlags: syn },
    verdict: "next",
    reason: null,
  },
  {
    title: "tunnel packets are the stack's",
    program: "from_netdev",
    packet: { source: "172.31.0.3", destination: "172.31.0.2", protocol: "udp", destinationPort: 8473 },
    verdict: "next",
    reason: null,
  },
  {
    title: "a routed packet goes to its pod",
    program: "from_netdev",
    packet: { source: "10.244.3.9", destination: pod },
    verdict: "redirect",
    reason: "FORWARD_LOCAL",
    becomes: { destinationMac: podMac, sourceMac: "02:00:00:00:00:01", ttl: 63 },
  },
  {
    title: "a pod's address from outside is dropped",
    program: "from_netdev",
    packet: { source: "10.244.1.6", destination: pod },
    verdict: "drop",
    reason: "DROP_INVALID_SOURCE_IP",
  },
  {
    title: "what the node sends itself leaves unchanged",
    program: "to_netdev",
    packet: { source: "172.31.0.2", destination: client },
    verdict: "next",
    reason: null,
  },
];

export const overlay: readonly Case[] = [
  {
    title: "a packet without tunnel information is dropped",
    program: "from_overlay",
    packet: { source: "10.244.2.9", destination: pod },
    verdict: "drop",
    reason: "DROP_UNKNOWN_SENDER",
  },
  {
    title: "a packet of the node to a remote pod gets its tunnel key",
    program: "to_overlay",
    packet: { source: "10.244.1.1", destination: "10.244.2.9" },
    verdict: "next",
    reason: "FORWARD_OVERLAY",
  },
  {
    title: "a packet to nowhere is dropped before the tunnel",
    program: "to_overlay",
    packet: { source: "10.244.1.1", destination: "10.244.9.9" },
    verdict: "drop",
    reason: "DROP_UNKNOWN_TARGET",
  },
];

function edited(fields: PacketFields, offset: number, value: number): Uint8Array {
  const packet = buildPacket(fields);
  packet[offset] = value;
  return packet;
}

function cutTcp(): Uint8Array {
  const packet = buildPacket({ source: pod, destination: "10.244.1.6" }).subarray(0, 14 + 20 + 10);
  packet.writeUInt16BE(30, 16);
  return packet;
}

function headers(count: number): Uint8Array {
  return Uint8Array.from(Array.from({ length: count }, () => [60, 0, 1, 4, 0, 0, 0, 0]).flat());
}
