// SPDX-License-Identifier: Apache-2.0
import { addressBytes, cidrContains, type Family, parseCidr } from "../../../../lib/addresses.ts";
import type { KubeObject } from "../../../../lib/kube-object.ts";
import {
  chooseEndpoints,
  type Endpoint,
  type EndpointChoice,
  endpointsOf,
  type NodePlace,
} from "./endpoints.ts";
import { isExternallyAccessible, type ServicePort, servicePorts } from "./service-port.ts";

/** What becomes of packets to one side (inner or outer) of a Service port on this node. */
export type Reach = "forward" | "reject" | "drop";

/** A Service port with all that both rule layouts need to know. */
export interface PortPlan {
  port: ServicePort;
  /** Every endpoint of the Service, serving or not. */
  endpoints: Endpoint[];
  choice: EndpointChoice;
  usesCluster: boolean;
  usesLocal: boolean;
  usesExternal: boolean;
  usesFirewall: boolean;
  /** To the ClusterIP. */
  internal: Reach;
  /** To node ports, external and load balancer addresses. */
  external: Reach;
}

/** The node as rules see it. */
export interface ProxyNode extends NodePlace {
  /** InternalIP addresses. */
  addresses: string[];
}

/** What a cache of Services and slices means in one family on one node. */
export function planPorts(
  services: readonly KubeObject[],
  slices: readonly KubeObject[],
  family: Family,
  node: ProxyNode,
): PortPlan[] {
  const slicesOf = new Map<string, KubeObject[]>();
  for (const slice of slices) {
    const service = slice.metadata.labels?.["kubernetes.io/service-name"];
    if (service === undefined) continue;
    const key = `${slice.metadata.namespace}/${service}`;
    slicesOf.set(key, [...(slicesOf.get(key) ?? []), slice]);
  }
  return services
    .flatMap((service) => servicePorts(service, family))
    .sort((a, b) => (a.fullName < b.fullName ? -1 : 1))
    .map((port) => {
      const own = slicesOf.get(`${port.namespace}/${port.name}`) ?? [];
      return planPort(port, endpointsOf(port, own, family, node), node);
    });
}

function planPort(port: ServicePort, endpoints: Endpoint[], node: ProxyNode): PortPlan {
  const choice = chooseEndpoints(port, endpoints, node);
  const usesCluster = choice.cluster.length > 0;
  const usesLocal = choice.local.length > 0;
  const hasEndpoints = choice.hasAny;
  const reach = (isLocal: boolean): Reach => {
    if (!hasEndpoints) return "reject";
    return (isLocal ? usesLocal : usesCluster) ? "forward" : "drop";
  };
  const usesExternal = hasEndpoints && isExternallyAccessible(port);
  return {
    port,
    endpoints,
    choice,
    usesCluster,
    usesLocal,
    usesExternal,
    usesFirewall: usesExternal && port.loadBalancerIPs.length > 0 && port.loadBalancerSourceRanges.length > 0,
    internal: reach(port.internalLocal),
    external: reach(port.externalLocal),
  };
}

/** Sources that a Service with source ranges lets through: its ranges, and itself when the node is among them. */
export function allowedSources(port: ServicePort, node: ProxyNode): string[] {
  const ranges = port.loadBalancerSourceRanges.map(parseCidr);
  const isNodeAllowed = node.addresses.some((address) =>
    ranges.some((range) => cidrContains(range, addressBytes(address))),
  );
  const isIpv6 = port.clusterIP.includes(":");
  const own = isNodeAllowed ? port.loadBalancerIPs.map((ip) => `${ip}/${isIpv6 ? 128 : 32}`) : [];
  return [...port.loadBalancerSourceRanges, ...own];
}
