// SPDX-License-Identifier: Apache-2.0
import { cilium, kind, named, network, toPorts } from "./peers.ts";
import type { TwoKinds } from "./two-kinds.ts";

const ofClient = (...egress: object[]) => cilium({ endpointSelector: named("client"), egress });
const ofClientKnp = (...egress: object[]) =>
  network({ podSelector: named("client"), policyTypes: ["Egress"], egress });
const toEchoKnp = (...ingress: object[]) => network({ podSelector: kind("echo"), ingress });
const blocks = (prefixes: readonly string[]) => prefixes.map((cidr) => ({ ipBlock: { cidr } }));

/** All addresses but these, each family for itself. */
const allBut = (prefixes: readonly string[]) =>
  prefixes.map((one) => ({ cidr: one.includes(":") ? "::/0" : "0.0.0.0/0", except: [one] }));

/** Peers by their addresses. */
export const cidrCases: readonly TwoKinds[] = [
  {
    name: "client-egress-to-cidr",
    description: "a client reaches one address outside, and nobody else",
    cilium: ({ prefixesOf }) => ofClient({ toCIDR: prefixesOf("world") }),
    network: ({ prefixesOf }) => ofClientKnp({ to: blocks(prefixesOf("world")) }),
    passes: ["client -> world: http icmp"],
    denied: ["client -> world2 echo host: http"],
  },
  {
    name: "client-egress-to-cidr-except",
    description: "a client reaches all addresses outside but one",
    cilium: ({ prefixesOf }) => ofClient({ toCIDRSet: allBut(prefixesOf("world2")) }),
    network: ({ prefixesOf }) =>
      ofClientKnp({ to: allBut(prefixesOf("world2")).map((ipBlock) => ({ ipBlock })) }),
    passes: ["client -> world: http icmp"],
    denied: ["client -> world2: http icmp"],
  },
  {
    name: "client-egress-to-cidr-port",
    description: "a client reaches one address outside, at one port",
    cilium: ({ prefixesOf }) => ofClient({ toCIDR: prefixesOf("world"), toPorts: toPorts({ port: 80 }) }),
    network: ({ prefixesOf }) => ofClientKnp({ to: blocks(prefixesOf("world")), ports: [{ port: 80 }] }),
    passes: ["client -> world: http"],
    denied: ["client -> world: icmp", "client -> world2 echo: http"],
  },
  {
    name: "client-egress-to-pod-cidr",
    description: "a NetworkPolicy's block is also about pods with an address in it",
    network: ({ prefixesOf }) => ofClientKnp({ to: blocks(prefixesOf("near")) }),
    passes: ["client -> near near-service: http udp"],
    denied: ["client -> far far-service: http udp"],
  },
  {
    name: "client-egress-to-pod-cidr",
    description: "a CiliumNetworkPolicy's prefix is about the world alone, and never about pods",
    cilium: ({ prefixesOf }) => ofClient({ toCIDR: prefixesOf("near") }),
    passes: ["client2 -> near: http"],
    denied: ["client -> near: http udp"],
  },
  {
    name: "echo-ingress-from-pod-cidr",
    description: "servers are reached by the pod whose address is named",
    network: ({ prefixesOf }) => toEchoKnp({ from: blocks(prefixesOf("client2")) }),
    passes: ["client2 -> echo near-service: http udp"],
    denied: ["client stranger -> echo: http udp"],
  },
  {
    name: "echo-ingress-from-cidr-except",
    description: "servers are reached by all addresses but one",
    network: ({ prefixesOf }) =>
      toEchoKnp({ from: allBut(prefixesOf("client")).map((ipBlock) => ({ ipBlock })) }),
    passes: ["client2 stranger -> echo: http udp"],
    denied: ["client -> echo near-service: http udp"],
  },
];
