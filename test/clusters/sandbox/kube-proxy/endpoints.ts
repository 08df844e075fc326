// SPDX-License-Identifier: Apache-2.0
import { type Family, hostPort } from "../../../../lib/addresses.ts";
import type { KubeObject } from "../../../../lib/kube-object.ts";
import { isExternallyAccessible, type ServicePort } from "./service-port.ts";

/** One address behind a Service port. */
export interface Endpoint {
  address: string;
  port: number;
  /** `address:port`, an IPv6 address in brackets. */
  target: string;
  isLocal: boolean;
  isReady: boolean;
  isServing: boolean;
  isTerminating: boolean;
  zoneHints: string[];
  nodeHints: string[];
}

/** The node that rules are for. */
export interface NodePlace {
  name: string;
  zone: string;
}

/** Which endpoints a Service port's traffic goes to on this node. */
export interface EndpointChoice {
  /** For traffic policy Cluster. */
  cluster: Endpoint[];
  /** For traffic policy Local. */
  local: Endpoint[];
  /** Both together, each once. */
  reachable: Endpoint[];
  /** Whether the Service has any that serve, on whatever node. */
  hasAny: boolean;
}

/** Endpoints of a Service port from its slices, sorted, each once. */
export function endpointsOf(
  port: ServicePort,
  slices: readonly KubeObject[],
  family: Family,
  node: NodePlace,
): Endpoint[] {
  const found = new Map<string, Endpoint>();
  for (const slice of slices) {
    if (slice.addressType !== (family === "ipv4" ? "IPv4" : "IPv6")) continue;
    const target = (slice.ports ?? []).find(
      (entry: any) =>
        (entry.name ?? "") === port.portName && (entry.protocol ?? "TCP").toLowerCase() === port.protocol,
    );
    if (target?.port === undefined) continue;
    for (const entry of slice.endpoints ?? []) {
      const address = entry.addresses?.[0];
      if (address === undefined) continue;
      const endpoint = readEndpoint(entry, address, target.port, node);
      if (!found.has(endpoint.target) || endpoint.isReady) found.set(endpoint.target, endpoint);
    }
  }
  return [...found.values()].sort((a, b) => (a.target < b.target ? -1 : 1));
}

function readEndpoint(entry: any, address: string, port: number, node: NodePlace): Endpoint {
  const { ready, serving, terminating } = entry.conditions ?? {};
  return {
    address,
    port,
    target: hostPort(address, port),
    isLocal: entry.nodeName === node.name,
    isReady: ready !== false,
    isServing: serving ?? ready !== false,
    isTerminating: terminating === true,
    zoneHints: (entry.hints?.forZones ?? []).map((hint: any) => hint.name),
    nodeHints: (entry.hints?.forNodes ?? []).map((hint: any) => hint.name),
  };
}

/** Chooses as kube-proxy does: ready ones, else those that still serve while they terminate. */
export function chooseEndpoints(
  port: ServicePort,
  endpoints: readonly Endpoint[],
  node: NodePlace,
): EndpointChoice {
  const serving = (from: readonly Endpoint[]) => {
    const ready = from.filter(({ isReady }) => isReady);
    return ready.length > 0 ? ready : from.filter((one) => one.isServing && one.isTerminating);
  };
  const all = serving(endpoints);
  const usesCluster = !port.internalLocal || isExternallyAccessible(port);
  const usesLocal = port.internalLocal || (port.externalLocal && isExternallyAccessible(port));
  const cluster = usesCluster ? byHints(all, node) : [];
  const local = usesLocal ? serving(endpoints.filter(({ isLocal }) => isLocal)) : [];
  const reachable = [...new Set([...cluster, ...local])].sort((a, b) => (a.target < b.target ? -1 : 1));
  return { cluster, local, reachable, hasAny: all.length > 0 };
}

/** Hints count only when every endpoint has them and one is meant for this node. */
function byHints(endpoints: Endpoint[], node: NodePlace): Endpoint[] {
  const hinted = (hints: (one: Endpoint) => string[], place: string) => {
    if (place === "" || endpoints.some((one) => hints(one).length === 0)) return undefined;
    const chosen = endpoints.filter((one) => hints(one).includes(place));
    return chosen.length > 0 ? chosen : undefined;
  };
  return hinted((one) => one.nodeHints, node.name) ?? hinted((one) => one.zoneHints, node.zone) ?? endpoints;
}
