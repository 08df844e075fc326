// SPDX-License-Identifier: Apache-2.0
import type { Family } from "../lib/addresses.ts";
import type { KubeObject } from "../lib/kube-object.ts";
import { serviceFlags } from "./datapath-layout.ts";

/** An address and port on which a service answers. */
export interface Frontend {
  address: string;
  port: number;
  protocol: number;
  flags: number;
  affinitySeconds: number;
}

export interface Backend {
  address: string;
  port: number;
  /** On this node: these come first, for the traffic policies Local. */
  local: boolean;
}

/** Frontends that share one set of backends: one port of a Service in one family. */
export interface ServiceGroup {
  /** Unique name, for example `default/web:http/TCP/ipv4`. */
  key: string;
  protocol: number;
  frontends: Frontend[];
  backends: Backend[];
}

const protocols: Record<string, number> = { TCP: 6, UDP: 17 };
const unspecified: Record<Family, string> = { ipv4: "0.0.0.0", ipv6: "::" };
const familyOf = (address: string): Family => (address.includes(":") ? "ipv6" : "ipv4");

const list = (value: unknown): any[] => (Array.isArray(value) ? value : []);

/** True for a Service whose address this agent answers. */
export function isHandled(service: KubeObject): boolean {
  const { spec, metadata } = service;
  return (
    spec !== undefined &&
    spec.type !== "ExternalName" &&
    spec.clusterIP !== undefined &&
    spec.clusterIP !== "" &&
    spec.clusterIP !== "None" &&
    metadata.labels?.["service.kubernetes.io/service-proxy-name"] === undefined
  );
}

/** What the maps should hold for one Service with its EndpointSlices, seen from `nodeName`. */
export function serviceGroups(
  service: KubeObject,
  slices: readonly KubeObject[],
  nodeName: string,
): ServiceGroup[] {
  if (!isHandled(service)) return [];
  const { spec, metadata } = service;
  const clusterIPs = list(spec.clusterIPs).length > 0 ? list(spec.clusterIPs) : [spec.clusterIP];
  return clusterIPs.flatMap((clusterIP: string) => {
    const family = familyOf(clusterIP);
    return list(spec.ports).flatMap((port): ServiceGroup[] => {
      const name = port.protocol ?? "TCP";
      const protocol = Object.hasOwn(protocols, name) ? protocols[name] : undefined;
      if (protocol === undefined) return [];
      return [
        {
          key: `${metadata.namespace}/${metadata.name}:${port.name ?? ""}/${name}/${family}`,
          protocol,
          frontends: frontendsOf(service, clusterIP, port, protocol),
          backends: backendsOf(service, slices, port, family, nodeName),
        },
      ];
    });
  });
}

function frontendsOf(service: KubeObject, clusterIP: string, port: any, protocol: number): Frontend[] {
  const { spec, status } = service;
  const family = familyOf(clusterIP);
  const affinitySeconds =
    spec.sessionAffinity === "ClientIP"
      ? (spec.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? 10_800)
      : 0;
  const make = (address: string, number: number, flags: number): Frontend => ({
    address,
    port: number,
    protocol,
    flags,
    affinitySeconds,
  });
  const internal = spec.internalTrafficPolicy === "Local" ? serviceFlags.SERVICE_INTERNAL_LOCAL : 0;
  const external = spec.externalTrafficPolicy === "Local" ? serviceFlags.SERVICE_EXTERNAL_LOCAL : 0;
  const balanced = list(status?.loadBalancer?.ingress)
    .filter((ingress) => typeof ingress.ip === "string" && ingress.ipMode !== "Proxy")
    .map((ingress) => ingress.ip as string);
  const outside = new Set([...list(spec.externalIPs), ...balanced].filter((ip) => familyOf(ip) === family));
  return [
    make(clusterIP, port.port, internal),
    ...[...outside].map((address) => make(address, port.port, external)),
    ...(port.nodePort > 0 ? [make(unspecified[family], port.nodePort, external)] : []),
  ];
}

function backendsOf(
  service: KubeObject,
  slices: readonly KubeObject[],
  port: any,
  family: Family,
  nodeName: string,
): Backend[] {
  const ready = new Map<string, Backend>();
  const terminating = new Map<string, Backend>();
  for (const slice of slices) {
    if (slice.addressType?.toLowerCase() !== family) continue;
    const target = list(slice.ports).find(
      (entry) =>
        (entry.name ?? "") === (port.name ?? "") && (entry.protocol ?? "TCP") === (port.protocol ?? "TCP"),
    );
    if (typeof target?.port !== "number") continue;
    for (const entry of list(slice.endpoints)) {
      const address = entry.addresses?.[0];
      if (typeof address !== "string") continue;
      const { ready: isReady, serving, terminating: isEnding } = entry.conditions ?? {};
      const backend = { address, port: target.port, local: entry.nodeName === nodeName };
      const key = `${address} ${target.port}`;
      if (isReady !== false || service.spec.publishNotReadyAddresses === true) ready.set(key, backend);
      else if (isEnding === true && serving !== false) terminating.set(key, backend);
    }
  }
  return sortBackends(ready.size > 0 ? ready : terminating);
}

/** Backends of this node first, then by address, so that equal sets compare equal. */
function sortBackends(backends: Map<string, Backend>): Backend[] {
  return [...backends]
    .toSorted(([a, left], [b, right]) => Number(right.local) - Number(left.local) || (a < b ? -1 : 1))
    .map(([, backend]) => backend);
}

/** The host ports of a pod of this node. */
export function hostPortGroups(pod: KubeObject): ServiceGroup[] {
  const { spec, status, metadata } = pod;
  if (spec?.hostNetwork === true || ["Succeeded", "Failed"].includes(status?.phase)) return [];
  const addresses: string[] = list(status?.podIPs).map((entry) => entry.ip);
  const ports = [...list(spec?.initContainers), ...list(spec?.containers)]
    .flatMap((container) => list(container.ports))
    .filter((port) => port.hostPort > 0 && Object.hasOwn(protocols, port.protocol ?? "TCP"));
  return addresses.flatMap((address) =>
    ports.flatMap((port): ServiceGroup[] => {
      const family = familyOf(address);
      const hostIP = port.hostIP || unspecified[family];
      const anyAddress = hostIP === "0.0.0.0" || hostIP === "::";
      if (!anyAddress && familyOf(hostIP) !== family) return [];
      const name = port.protocol ?? "TCP";
      const frontend: Frontend = {
        address: anyAddress ? unspecified[family] : hostIP,
        port: port.hostPort,
        protocol: protocols[name]!,
        flags: serviceFlags.SERVICE_HOST_PORT,
        affinitySeconds: 0,
      };
      return [
        {
          key: `pod ${metadata.namespace}/${metadata.name}:${hostIP}:${port.hostPort}/${name}/${family}`,
          protocol: protocols[name]!,
          frontends: [frontend],
          backends: [{ address, port: port.containerPort, local: true }],
        },
      ];
    }),
  );
}
