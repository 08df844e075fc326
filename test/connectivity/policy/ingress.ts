// SPDX-License-Identifier: Apache-2.0
import {
  cilium,
  client2,
  echoRequests,
  http,
  inNamespace,
  kind,
  named,
  namespaceNamed,
  network,
  ports,
  toPorts,
} from "./peers.ts";
import type { TwoKinds } from "./two-kinds.ts";

const toEcho = (...ingress: object[]) => cilium({ endpointSelector: kind("echo"), ingress });
const toEchoKnp = (...ingress: object[]) => network({ podSelector: kind("echo"), ingress });
const nobody = {
  cilium: toEcho({}),
  network: network({ podSelector: kind("echo"), policyTypes: ["Ingress"] }),
};
const withoutOther = {
  matchExpressions: [
    { key: "kind", operator: "In", values: ["client", "customer"] },
    { key: "other", operator: "DoesNotExist" },
  ],
};

/** Who gets in. */
export const ingressCases: readonly TwoKinds[] = [
  {
    name: "all-ingress-deny",
    description: "nobody reaches isolated pods but their own node, and they still get answers",
    ...nobody,
    passes: ["host -> near: http", "near -> other-namespace: http udp"],
    denied: [
      "client client2 stranger -> echo: http udp",
      "client client2 -> echo: icmp",
      "client client2 -> near-service far-service: http udp",
    ],
  },
  {
    name: "all-ingress-deny-from-outside",
    description: "isolated pods are not reached from outside the cluster by a node port either",
    ...nobody,
    passes: ["host -> near: http"],
    denied: ["outside -> node-port: http"],
  },
  {
    name: "client-ingress",
    description: "a client is reached by the pods that labels select, and by no other",
    cilium: cilium({ endpointSelector: named("client"), ingress: [{ fromEndpoints: [client2] }] }),
    network: network({ podSelector: named("client"), ingress: [{ from: [{ podSelector: client2 }] }] }),
    passes: ["client2 -> client: http udp icmp", "client -> client2: http"],
    denied: ["near stranger -> client: http udp", "stranger -> client: icmp"],
  },
  {
    name: "client-ingress-icmp",
    description: "ICMP echoes alone get in, and those of selected pods alone",
    cilium: cilium({
      endpointSelector: named("client"),
      ingress: [{ fromEndpoints: [client2], icmps: echoRequests }],
    }),
    passes: ["client2 -> client: icmp"],
    denied: ["client2 -> client: http udp", "stranger -> client: icmp"],
  },
  {
    name: "echo-ingress",
    description: "servers are reached by selected clients, directly and by a Service",
    cilium: toEcho({ fromEndpoints: [client2] }),
    network: toEchoKnp({ from: [{ podSelector: client2 }] }),
    passes: ["client2 -> echo near-service far-service: http udp", "client2 -> echo: icmp"],
    denied: ["client -> echo near-service far-service: http udp", "client -> echo: icmp"],
  },
  {
    name: "echo-ingress-port",
    description: "servers are reached at one port alone",
    cilium: toEcho({ fromEndpoints: [kind("client")], toPorts: toPorts(http) }),
    network: toEchoKnp({ from: [{ podSelector: kind("client") }], ports: [http] }),
    passes: ["client client2 -> echo near-service: http"],
    denied: ["client -> echo near-service: second udp", "client -> echo: icmp", "stranger -> echo: http"],
  },
  {
    name: "echo-ingress-expression",
    description: "expressions select by values of labels and by their absence",
    cilium: toEcho({ fromEndpoints: [withoutOther] }),
    network: toEchoKnp({ from: [{ podSelector: withoutOther }] }),
    passes: ["client -> echo: http udp"],
    denied: ["client2 -> echo: http udp"],
  },
  {
    name: "echo-ingress-from-other-namespace",
    description: "pods of another namespace get in, those of the servers' own do not",
    cilium: ({ otherNamespace }) => toEcho({ fromEndpoints: [inNamespace(otherNamespace)] }),
    network: ({ otherNamespace }) =>
      toEchoKnp({ from: [{ namespaceSelector: namespaceNamed(otherNamespace) }] }),
    passes: ["stranger other-stranger -> echo: http udp"],
    denied: ["client client2 -> echo: http udp"],
  },
  {
    name: "echo-ingress-from-pod-of-other-namespace",
    description: "of another namespace, one pod gets in",
    cilium: ({ otherNamespace }) =>
      toEcho({ fromEndpoints: [inNamespace(otherNamespace, { name: "spoofer" })] }),
    network: ({ otherNamespace }) =>
      toEchoKnp({
        from: [{ namespaceSelector: namespaceNamed(otherNamespace), podSelector: named("spoofer") }],
      }),
    passes: ["stranger -> echo: http"],
    denied: ["other-stranger client -> echo: http"],
  },
  {
    name: "echo-ingress-two-policies",
    description: "what any policy allows gets in: policies add up",
    cilium: cilium(
      {
        endpointSelector: kind("echo"),
        ingress: [{ fromEndpoints: [named("client")], toPorts: toPorts(http) }],
      },
      {
        endpointSelector: kind("echo"),
        ingress: [{ fromEndpoints: [client2], toPorts: toPorts({ port: ports.second }) }],
      },
    ),
    network: network(
      { podSelector: kind("echo"), ingress: [{ from: [{ podSelector: named("client") }], ports: [http] }] },
      {
        podSelector: kind("echo"),
        ingress: [{ from: [{ podSelector: client2 }], ports: [{ port: ports.second }] }],
      },
    ),
    passes: ["client -> echo: http", "client2 -> echo: second"],
    denied: ["client -> echo: second", "client2 -> echo: http"],
  },
  {
    name: "echo-ingress-from-everybody",
    description: "a rule without peers lets everybody in at its port, other nodes too",
    cilium: toEcho({ toPorts: toPorts(http) }),
    network: toEchoKnp({ ports: [http] }),
    passes: ["client stranger -> echo: http", "other-host -> near: http"],
    denied: ["client stranger -> echo: udp", "other-host -> near: second"],
  },
];
