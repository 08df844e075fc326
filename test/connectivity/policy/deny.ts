// SPDX-License-Identifier: Apache-2.0
import {
  cilium,
  client2,
  echoRequests,
  everybody,
  fromEverybody,
  http,
  kind,
  named,
  ofServiceAccount,
  ports,
  toPorts,
} from "./peers.ts";
import type { TwoKinds } from "./two-kinds.ts";

/** The client may reach everybody but these. */
const butNot = (...egressDeny: object[]) =>
  cilium({ endpointSelector: named("client"), egress: [everybody], egressDeny });

/** Rules that deny, which NetworkPolicy does not have. */
export const denyCases: readonly TwoKinds[] = [
  {
    name: "all-entities-deny",
    description: "a client that all entities are denied to reaches nobody and is reached by nobody",
    cilium: cilium({
      endpointSelector: named("client"),
      ingress: [fromEverybody],
      egress: [everybody],
      ingressDeny: [fromEverybody],
      egressDeny: [everybody],
    }),
    passes: ["client2 -> echo: http udp icmp"],
    denied: ["client -> echo: http udp icmp", "client2 near -> client: http", "client -> near-service: http"],
  },
  {
    name: "client-egress-to-echo-deny",
    description: "what is denied at one port is denied by a Service too, and other ports are not",
    cilium: butNot({ toEndpoints: [kind("echo")], toPorts: toPorts(http) }),
    passes: ["client -> echo: second udp icmp", "client -> other-namespace: http"],
    denied: ["client -> echo near-service far-service: http"],
  },
  {
    name: "client-egress-to-echo-expression-deny",
    description: "expressions select who is denied",
    cilium: butNot({
      toEndpoints: [{ matchExpressions: [{ key: "name", operator: "In", values: ["echo-other-node"] }] }],
    }),
    passes: ["client -> near near-service: http"],
    denied: ["client -> far far-service: http udp"],
  },
  {
    name: "client-with-service-account-egress-to-echo-deny",
    description: "the pods of a service account are those that are denied something",
    cilium: cilium({
      endpointSelector: ofServiceAccount("client2"),
      egress: [everybody],
      egressDeny: [{ toEndpoints: [kind("echo")] }],
    }),
    passes: ["client -> echo: http", "client2 -> client: http"],
    denied: ["client2 -> echo: http udp icmp"],
  },
  {
    name: "client-egress-to-echo-service-account-deny",
    description: "a client is denied the pods of a service account",
    cilium: butNot({ toEndpoints: [ofServiceAccount("echo-same-node")] }),
    passes: ["client -> far far-service: http"],
    denied: ["client -> near near-service: http udp"],
  },
  {
    name: "client-egress-to-echo-named-port-deny",
    description: "a client is denied a port by its name",
    cilium: butNot({ toEndpoints: [kind("echo")], toPorts: toPorts({ port: "http" }) }),
    passes: ["client -> echo: second udp"],
    denied: ["client -> echo near-service: http"],
  },
  {
    name: "client-egress-to-echo-port-range-deny",
    description: "a client is denied a range of ports",
    cilium: butNot({ toPorts: toPorts({ port: ports.http, endPort: ports.second }) }),
    passes: ["client -> echo: tcp udp"],
    denied: ["client -> echo near-service: http second"],
  },
  {
    name: "echo-ingress-from-other-client-deny",
    description: "one client is denied the servers, the others are not",
    cilium: cilium({
      endpointSelector: kind("echo"),
      ingress: [fromEverybody],
      ingressDeny: [{ fromEndpoints: [client2] }],
    }),
    passes: ["client stranger -> echo: http udp"],
    denied: ["client2 -> echo: http udp icmp"],
  },
  {
    name: "client-ingress-from-other-client-icmp-deny",
    description: "one client's ICMP echoes are denied, its connections are not",
    cilium: cilium({
      endpointSelector: named("client"),
      ingress: [fromEverybody],
      ingressDeny: [{ fromEndpoints: [client2], icmps: echoRequests }],
    }),
    passes: ["client2 -> client: http udp", "stranger -> client: icmp"],
    denied: ["client2 -> client: icmp"],
  },
  {
    name: "client-egress-to-cidr-deny",
    description: "a client is denied an address outside, and reaches others",
    cilium: ({ prefixesOf }) => butNot({ toCIDR: prefixesOf("world") }),
    passes: ["client -> world2: http", "client -> echo: http", "client2 -> world: http"],
    denied: ["client -> world: http icmp"],
  },
  {
    name: "client-egress-to-cidr-deny-default",
    description: "a rule that denies isolates as one that allows does",
    cilium: ({ prefixesOf }) =>
      cilium({ endpointSelector: named("client"), egressDeny: [{ toCIDR: prefixesOf("world") }] }),
    passes: ["client2 -> world: http"],
    denied: ["client -> world world2 echo: http"],
  },
  {
    name: "client-egress-to-entities-world-deny",
    description: "a client is denied the world, and reaches the cluster",
    cilium: butNot({ toEntities: ["world"] }),
    passes: ["client -> echo host other-host: http"],
    denied: ["client -> world world2: http icmp"],
  },
  {
    name: "deny-before-allow",
    description: "what one policy denies, no other allows",
    cilium: cilium(
      {
        endpointSelector: named("client"),
        egress: [{ toEndpoints: [kind("echo")], toPorts: toPorts(http, { port: ports.second }) }],
      },
      {
        endpointSelector: kind("client"),
        egress: [everybody],
        egressDeny: [{ toEndpoints: [kind("echo")], toPorts: toPorts(http) }],
      },
    ),
    passes: ["client client2 -> echo: second"],
    denied: ["client client2 -> echo: http"],
  },
  {
    name: "deny-without-default-deny",
    description: "a policy that does not isolate denies what it names and nothing else",
    cilium: cilium({
      endpointSelector: named("client"),
      enableDefaultDeny: { egress: false },
      egressDeny: [{ toEndpoints: [kind("echo")], toPorts: toPorts(http) }],
    }),
    passes: ["client -> echo: second udp icmp", "client -> other-namespace: http"],
    denied: ["client -> echo near-service: http"],
  },
];
