// SPDX-License-Identifier: Apache-2.0
import type { Family } from "../../../../lib/addresses.ts";
import type { KubeObject } from "../../../../lib/kube-object.ts";
import { servicePortName } from "./names.ts";

/** One port of a Service in one address family. */
export interface ServicePort {
  namespace: string;
  name: string;
  portName: string;
  /** `namespace/name:port`, as chain names and comments have it. */
  fullName: string;
  /** tcp, udp or sctp. */
  protocol: string;
  clusterIP: string;
  port: number;
  /** 0: none. */
  nodePort: number;
  externalIPs: string[];
  loadBalancerIPs: string[];
  loadBalancerSourceRanges: string[];
  /** 0: no session affinity. */
  affinitySeconds: number;
  externalLocal: boolean;
  internalLocal: boolean;
  /** 0: none. */
  healthCheckNodePort: number;
}

const familyOf = (address: string): Family => (address.includes(":") ? "ipv6" : "ipv4");
const list = (value: unknown): any[] => (Array.isArray(value) ? value : []);

/** The ports of a Service in one family; none when kube-proxy leaves the Service alone. */
export function servicePorts(service: KubeObject, family: Family): ServicePort[] {
  const { spec, status, metadata } = service;
  if (spec === undefined || spec.type === "ExternalName" || !spec.clusterIP || spec.clusterIP === "None")
    return [];
  if (metadata.labels?.["service.kubernetes.io/service-proxy-name"] !== undefined) return [];
  const clusterIPs: string[] = list(spec.clusterIPs).length > 0 ? spec.clusterIPs : [spec.clusterIP];
  const clusterIP = clusterIPs.find((address) => familyOf(address) === family);
  if (clusterIP === undefined) return [];
  const ofFamily = (addresses: string[]) => addresses.filter((address) => familyOf(address) === family);
  const loadBalancerIPs = ofFamily(
    list(status?.loadBalancer?.ingress)
      .filter((ingress) => ingress.ip && ingress.ipMode !== "Proxy")
      .map((ingress) => ingress.ip),
  );
  const isExternal = ["NodePort", "LoadBalancer"].includes(spec.type) || list(spec.externalIPs).length > 0;
  const namespace = metadata.namespace ?? "default";
  const name = metadata.name!;
  return list(spec.ports).map((port) => ({
    namespace,
    name,
    portName: port.name ?? "",
    fullName: servicePortName(namespace, name, port.name ?? ""),
    protocol: String(port.protocol ?? "TCP").toLowerCase(),
    clusterIP,
    port: port.port,
    nodePort: port.nodePort ?? 0,
    externalIPs: ofFamily(list(spec.externalIPs)),
    loadBalancerIPs: spec.type === "LoadBalancer" ? loadBalancerIPs : [],
    loadBalancerSourceRanges: ofFamily(
      list(spec.loadBalancerSourceRanges).map((range: string) => range.trim()),
    ),
    affinitySeconds:
      spec.sessionAffinity === "ClientIP"
        ? (spec.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? 10_800)
        : 0,
    externalLocal: isExternal && spec.externalTrafficPolicy === "Local",
    internalLocal: spec.internalTrafficPolicy === "Local",
    healthCheckNodePort: spec.externalTrafficPolicy === "Local" ? (spec.healthCheckNodePort ?? 0) : 0,
  }));
}

/** True for a Service port that something outside of the cluster can reach. */
export function isExternallyAccessible(port: ServicePort): boolean {
  return port.nodePort !== 0 || port.externalIPs.length > 0 || port.loadBalancerIPs.length > 0;
}
