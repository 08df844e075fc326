// SPDX-License-Identifier: Apache-2.0
// Parts that policies of the scenarios are made of.
import type { PolicySpecs } from "./objects.ts";

export const named = (name: string) => ({ matchLabels: { name } });
export const kind = (value: string) => ({ matchLabels: { kind: value } });
export const client2 = { matchLabels: { other: "client" } };
export const inNamespace = (namespace: string, more: Record<string, string> = {}) => ({
  matchLabels: { "k8s:io.kubernetes.pod.namespace": namespace, ...more },
});
export const namespaceNamed = (name: string) => ({ matchLabels: { "kubernetes.io/metadata.name": name } });
export const ofServiceAccount = (name: string) => ({
  matchLabels: { "io.cilium.k8s.policy.serviceaccount": name },
});

interface Port {
  port: string | number;
  endPort?: number;
  protocol?: "TCP" | "UDP" | "ANY";
}
/** `toPorts` of one rule; the port as the kind writes it. */
export const toPorts = (...ports: Port[]) => [
  { ports: ports.map(({ port, ...rest }) => ({ port: String(port), protocol: "TCP", ...rest })) },
];
export const ports = { http: 8080, second: 8081, tcp: 8082, udp: 8083 } as const;
export const http = { port: ports.http };
export const udp = { port: ports.udp, protocol: "UDP" } as const;
/** ICMP echo requests of both families. */
export const echoRequests = [
  {
    fields: [
      { family: "IPv4", type: 8 },
      { family: "IPv6", type: 128 },
    ],
  },
];
export const everybody = { toEntities: ["all"] };
export const fromEverybody = { fromEntities: ["all"] };

export const cilium = (...specs: object[]): PolicySpecs => ({ CiliumNetworkPolicy: specs });
export const network = (...specs: object[]): PolicySpecs => ({ NetworkPolicy: specs });
