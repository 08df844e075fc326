// SPDX-License-Identifier: Apache-2.0
import { cilium, http, kind, named, namespaceNamed, network, toPorts } from "./peers.ts";
import type { TwoKinds } from "./two-kinds.ts";

const ofClient = (...egress: object[]) => cilium({ endpointSelector: named("client"), egress });
const toEcho = (...fromEntities: string[]) =>
  cilium({ endpointSelector: kind("echo"), ingress: [{ fromEntities }] });

/** Peers that are not pods: the world, nodes, the API server. */
export const entityCases: readonly TwoKinds[] = [
  {
    name: "allow-all-except-world",
    description: "a client reaches the cluster's pods, and not the world",
    cilium: ofClient({ toEntities: ["cluster", "host", "remote-node", "kube-apiserver"] }),
    network: network({
      podSelector: named("client"),
      policyTypes: ["Egress"],
      egress: [{ to: [{ namespaceSelector: {} }] }],
    }),
    passes: ["client -> echo near-service other-namespace: http udp"],
    denied: ["client -> world world2: http icmp"],
  },
  {
    name: "client-egress-namespaces-only",
    description: "nodes and the world are in no namespace",
    network: network({
      podSelector: named("client"),
      policyTypes: ["Egress"],
      egress: [{ to: [{ namespaceSelector: namespaceNamed("default") }] }],
    }),
    passes: ["client2 -> host: http"],
    denied: ["client -> host other-host echo: http"],
  },
  {
    name: "cluster-entity",
    description: "pods and nodes are the cluster, the world is not",
    cilium: ofClient({ toEntities: ["cluster"] }),
    passes: ["client -> echo other-namespace host other-host: http icmp"],
    denied: ["client -> world: http icmp"],
  },
  {
    name: "cluster-entity-ingress",
    description: "pods and nodes get in, the world does not",
    cilium: toEcho("cluster"),
    passes: ["client stranger -> echo: http", "other-host -> near: http"],
    denied: ["outside -> node-port: http"],
  },
  {
    name: "host-entity-egress",
    description: "a client reaches its node, and no other node or pod",
    cilium: ofClient({ toEntities: ["host"] }),
    passes: ["client -> host: http icmp"],
    denied: ["client -> other-host echo: http icmp"],
  },
  {
    name: "host-entity-ingress",
    description: "a pod is reached by its node, and by no other",
    cilium: toEcho("host"),
    passes: ["host -> near: http icmp"],
    denied: ["client other-host -> near: http"],
  },
  {
    name: "remote-node-entity-egress",
    description: "a client reaches another node, and no pod",
    cilium: ofClient({ toEntities: ["remote-node"] }),
    passes: ["client -> other-host: http icmp"],
    denied: ["client -> host echo: http icmp"],
  },
  {
    name: "remote-node-entity-ingress",
    description: "a pod is reached by another node, and by no pod",
    cilium: toEcho("remote-node"),
    passes: ["other-host -> near: http"],
    denied: ["client -> near: http"],
  },
  {
    name: "to-entities-world",
    description: "a client reaches the world, and not the cluster",
    cilium: ofClient({ toEntities: ["world"] }),
    passes: ["client -> world world2: http icmp"],
    denied: ["client -> echo host other-host: http"],
  },
  {
    name: "to-entities-world-port-80",
    description: "a client reaches the world at one port alone",
    cilium: ofClient({ toEntities: ["world"], toPorts: toPorts({ port: 80 }) }),
    passes: ["client -> world world2: http"],
    denied: ["client -> world: icmp", "client -> echo: http"],
  },
  {
    name: "world-entity-ingress",
    description: "the world gets in, pods do not",
    cilium: toEcho("world"),
    passes: ["outside -> node-port: http"],
    denied: ["client -> echo: http udp"],
  },
  {
    name: "kube-apiserver-entity",
    description: "a client reaches the API server, and no pod, and not the world",
    cilium: ofClient({ toEntities: ["kube-apiserver"] }),
    passes: ["client -> api-server: http"],
    denied: ["client -> echo world: http"],
  },
  {
    name: "all-entity-port",
    description: "a client reaches everybody at one port alone",
    cilium: ofClient({ toEntities: ["all"], toPorts: toPorts(http) }),
    passes: ["client -> echo other-namespace: http"],
    denied: ["client -> echo other-namespace: second udp", "client -> host world: http"],
  },
];
