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
  ofServiceAccount,
  ports,
  toPorts,
  udp,
} from "./peers.ts";
import type { TwoKinds } from "./two-kinds.ts";

const ofClient = (...egress: object[]) => cilium({ endpointSelector: named("client"), egress });
const ofClientKnp = (...egress: object[]) =>
  network({ podSelector: named("client"), policyTypes: ["Egress"], egress });
const toEcho = { podSelector: kind("echo") };
const nearEcho = {
  matchExpressions: [
    { key: "kind", operator: "In", values: ["echo", "client"] },
    { key: "name", operator: "NotIn", values: ["echo-other-node"] },
  ],
};

/** What pods may send. */
export const egressCases: readonly TwoKinds[] = [
  {
    name: "all-egress-deny",
    description: "a client reaches nobody, and is reached still",
    cilium: ofClient({}),
    network: ofClientKnp(),
    passes: ["client2 -> client echo: http udp icmp"],
    denied: [
      "client -> echo: http udp icmp",
      "client -> near-service far-service: http udp",
      "client -> host other-host: http icmp",
    ],
  },
  {
    name: "client-egress",
    description: "a client reaches the pods that labels select, directly and by a Service, and no other",
    cilium: ofClient({ toEndpoints: [kind("echo")] }),
    network: ofClientKnp({ to: [toEcho] }),
    passes: ["client -> echo: http udp icmp", "client -> near-service far-service: http udp"],
    denied: ["client -> client2 other-namespace: http udp", "client -> client2: icmp"],
  },
  {
    name: "client-egress-expression",
    description: "expressions select by values of labels and against them",
    cilium: ofClient({ toEndpoints: [nearEcho] }),
    network: ofClientKnp({ to: [{ podSelector: nearEcho }] }),
    passes: ["client -> near client2: http", "client -> near-service: http"],
    denied: ["client -> far: http udp", "client -> far-service: http"],
  },
  {
    name: "client-egress-to-echo-port",
    description: "a client reaches servers at one port alone, also by a Service that has another",
    cilium: ofClient({ toEndpoints: [kind("echo")], toPorts: toPorts(http) }),
    network: ofClientKnp({ to: [toEcho], ports: [http] }),
    passes: ["client -> echo near-service far-service: http"],
    denied: ["client -> echo near-service far-service: second udp", "client -> echo: icmp"],
  },
  {
    name: "client-egress-to-echo-udp",
    description: "a client reaches servers over UDP alone",
    cilium: ofClient({ toEndpoints: [kind("echo")], toPorts: toPorts(udp) }),
    network: ofClientKnp({ to: [toEcho], ports: [udp] }),
    passes: ["client -> echo near-service far-service: udp"],
    denied: ["client -> echo near-service far-service: tcp"],
  },
  {
    name: "client-egress-icmp",
    description: "a client sends ICMP echoes alone",
    cilium: ofClient({ toEndpoints: [kind("echo")], icmps: echoRequests }),
    passes: ["client -> echo: icmp"],
    denied: ["client -> echo: http udp", "client -> client2: icmp"],
  },
  {
    name: "client-egress-to-other-namespace",
    description: "a client reaches another namespace, and its own no more",
    cilium: ({ otherNamespace }) => ofClient({ toEndpoints: [inNamespace(otherNamespace)] }),
    network: ({ otherNamespace }) =>
      ofClientKnp({ to: [{ namespaceSelector: namespaceNamed(otherNamespace) }] }),
    passes: ["client -> other-namespace: http udp"],
    denied: ["client -> echo: http udp"],
  },
  {
    name: "client-egress-two-policies",
    description: "what any policy allows gets out: policies add up",
    cilium: cilium(
      { endpointSelector: named("client"), egress: [{ toEndpoints: [named("echo-same-node")] }] },
      { endpointSelector: named("client"), egress: [{ toPorts: toPorts({ port: ports.second }) }] },
    ),
    network: network(
      {
        podSelector: named("client"),
        policyTypes: ["Egress"],
        egress: [{ to: [{ podSelector: named("echo-same-node") }] }],
      },
      {
        podSelector: named("client"),
        policyTypes: ["Egress"],
        egress: [{ ports: [{ port: ports.second }] }],
      },
    ),
    passes: ["client -> near: http udp", "client -> far other-namespace: second"],
    denied: ["client -> far other-namespace: http udp"],
  },
  {
    name: "client-egress-and-echo-ingress",
    description: "both ends must allow a connection",
    cilium: cilium(
      { endpointSelector: kind("client"), egress: [{ toEndpoints: [kind("echo")] }] },
      { endpointSelector: kind("echo"), ingress: [{ fromEndpoints: [client2] }] },
    ),
    network: network(
      { podSelector: kind("client"), policyTypes: ["Egress"], egress: [{ to: [toEcho] }] },
      { podSelector: kind("echo"), ingress: [{ from: [{ podSelector: client2 }] }] },
    ),
    passes: ["client2 -> echo: http udp"],
    denied: ["client -> echo: http udp", "client2 -> other-namespace: http"],
  },
  {
    name: "client-with-service-account-egress-to-echo",
    description: "the pods of a service account are those whose egress is judged",
    cilium: cilium({
      endpointSelector: ofServiceAccount("client2"),
      egress: [{ toEndpoints: [kind("echo")] }],
    }),
    passes: ["client2 -> echo: http", "client -> client2 other-namespace: http"],
    denied: ["client2 -> client other-namespace: http"],
  },
  {
    name: "client-egress-to-echo-service-account",
    description: "a client reaches the pods of a service account",
    cilium: ofClient({ toEndpoints: [ofServiceAccount("echo-same-node")] }),
    passes: ["client -> near near-service: http"],
    denied: ["client -> far far-service: http"],
  },
  {
    name: "client-egress-to-echo-service",
    description: "a client reaches the pods behind a Service that is named",
    cilium: ({ namespace }) =>
      ofClient({
        toServices: [{ k8sService: { serviceName: "echo-same-node", namespace } }],
      }),
    passes: ["client -> near-service: http udp"],
    denied: ["client -> far far-service other-namespace: http udp"],
  },
];
