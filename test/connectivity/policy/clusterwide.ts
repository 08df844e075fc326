// SPDX-License-Identifier: Apache-2.0
import { everybody, http, inNamespace, kind, toPorts } from "./peers.ts";
import type { TwoKinds } from "./two-kinds.ts";

const clusterwide = (...specs: object[]) => ({ CiliumClusterwideNetworkPolicy: specs });

/** Policies without a namespace, each about one namespace: the others are somebody's. */
export const clusterwideCases: readonly TwoKinds[] = [
  {
    name: "clusterwide-ingress-deny",
    description: "a clusterwide policy isolates the pods of the namespace that it selects",
    cilium: ({ namespace }) =>
      clusterwide({ endpointSelector: inNamespace(namespace, { kind: "echo" }), ingress: [{}] }),
    passes: ["client -> other-namespace: http", "host -> near: http"],
    denied: ["client stranger -> echo: http udp"],
  },
  {
    name: "clusterwide-egress",
    description: "its peers are pods of any namespace, unless it names one",
    cilium: ({ namespace }) =>
      clusterwide({
        endpointSelector: inNamespace(namespace, { name: "client" }),
        egress: [{ toEndpoints: [kind("echo"), { matchLabels: { name: "echo-hostport" } }] }],
      }),
    passes: ["client -> echo other-namespace: http udp"],
    denied: ["client -> client2: http udp"],
  },
  {
    name: "clusterwide-ingress-from-namespace",
    description: "one namespace gets in",
    cilium: ({ namespace, otherNamespace }) =>
      clusterwide({
        endpointSelector: inNamespace(namespace, { kind: "echo" }),
        ingress: [{ fromEndpoints: [inNamespace(otherNamespace)] }],
      }),
    passes: ["stranger other-stranger -> echo: http"],
    denied: ["client -> echo: http"],
  },
  {
    name: "clusterwide-by-labels-of-namespaces",
    description: "namespaces are selected by their labels",
    cilium: ({ namespace }) =>
      clusterwide({
        endpointSelector: {
          matchLabels: {
            "io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name": namespace,
            kind: "echo",
          },
        },
        ingress: [{ fromEndpoints: [inNamespace(namespace)] }],
      }),
    passes: ["client -> echo: http"],
    denied: ["stranger -> echo: http"],
  },
  {
    name: "clusterwide-deny-before-allow",
    description: "what a clusterwide policy denies, no policy of the namespace allows",
    cilium: ({ namespace }) => ({
      ...clusterwide({
        endpointSelector: inNamespace(namespace, { name: "client" }),
        egress: [everybody],
        egressDeny: [{ toEndpoints: [inNamespace(namespace, { kind: "echo" })], toPorts: toPorts(http) }],
      }),
      CiliumNetworkPolicy: [{ endpointSelector: kind("client"), egress: [{ toEndpoints: [kind("echo")] }] }],
    }),
    passes: ["client -> echo: second", "client2 -> echo: http"],
    denied: ["client -> echo: http"],
  },
];
