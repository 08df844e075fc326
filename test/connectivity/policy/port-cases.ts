// SPDX-License-Identifier: Apache-2.0
import { cilium, kind, named, network, ports, toPorts, udp } from "./peers.ts";
import type { TwoKinds } from "./two-kinds.ts";

const range = { port: ports.http, endPort: ports.second };
const toEcho = (port: Parameters<typeof toPorts>[0]) =>
  cilium({
    endpointSelector: kind("echo"),
    ingress: [{ fromEndpoints: [kind("client")], toPorts: toPorts(port) }],
  });
const toEchoKnp = (port: object) =>
  network({
    podSelector: kind("echo"),
    ingress: [{ from: [{ podSelector: kind("client") }], ports: [port] }],
  });
const ofClient = (port: Parameters<typeof toPorts>[0]) =>
  cilium({
    endpointSelector: named("client"),
    egress: [{ toEndpoints: [kind("echo")], toPorts: toPorts(port) }],
  });
const ofClientKnp = (port: object) =>
  network({
    podSelector: named("client"),
    policyTypes: ["Egress"],
    egress: [{ to: [{ podSelector: kind("echo") }], ports: [port] }],
  });

/** Ports by number, range, name and protocol. */
export const portCases: readonly TwoKinds[] = [
  {
    name: "echo-ingress-port-range",
    description: "a range of ports gets in, with its first and last",
    cilium: toEcho(range),
    network: toEchoKnp(range),
    passes: ["client -> echo near-service: http second"],
    denied: ["client -> echo: tcp udp"],
  },
  {
    name: "client-egress-port-range",
    description: "a range of ports gets out, with its first and last",
    cilium: ofClient(range),
    network: ofClientKnp(range),
    passes: ["client -> echo near-service: http second"],
    denied: ["client -> echo: tcp udp"],
  },
  {
    name: "echo-ingress-named-port",
    description: "a port gets in by its name in the receiving pod",
    cilium: toEcho({ port: "http" }),
    network: toEchoKnp({ port: "http" }),
    passes: ["client -> echo near-service: http"],
    denied: ["client -> echo near-service: second udp"],
  },
  {
    name: "client-egress-named-port",
    description: "a port gets out by its name in the receiving pod",
    cilium: ofClient({ port: "http" }),
    network: ofClientKnp({ port: "http" }),
    passes: ["client -> echo near-service: http"],
    denied: ["client -> echo near-service: second udp"],
  },
  {
    name: "echo-ingress-named-udp-port",
    description: "a name is of a port and a protocol",
    cilium: toEcho({ port: "udp", protocol: "UDP" }),
    network: toEchoKnp({ port: "udp", protocol: "UDP" }),
    passes: ["client -> echo near-service: udp"],
    denied: ["client -> echo near-service: http"],
  },
  {
    name: "echo-ingress-udp",
    description: "a port of UDP gets in, and no TCP",
    cilium: toEcho(udp),
    network: toEchoKnp(udp),
    passes: ["client -> echo near-service: udp"],
    denied: ["client -> echo near-service: http tcp"],
  },
  {
    name: "client-egress-any-protocol",
    description: "a port of any protocol is also one of UDP",
    cilium: ofClient({ port: ports.udp, protocol: "ANY" }),
    passes: ["client -> echo near-service: udp"],
    denied: ["client -> echo near-service: http tcp"],
  },
  {
    name: "client-egress-all-ports-of-tcp",
    description: "all ports of TCP get out, and none of UDP",
    cilium: ofClient({ port: 0 }),
    network: ofClientKnp({ protocol: "TCP" }),
    passes: ["client -> echo near-service: http second tcp"],
    denied: ["client -> echo near-service: udp"],
  },
  {
    name: "client-egress-service-port",
    description: "a Service is judged by its pods' port, and not by its own",
    cilium: ofClient({ port: 80 }),
    network: ofClientKnp({ port: 80 }),
    passes: ["client2 -> near-service: http"],
    denied: ["client -> near-service far-service: http", "client -> echo: http"],
  },
];
