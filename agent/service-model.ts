// SPDX-License-Identifier: Apache-2.0
import { type Family, isAddress, parseCidr } from "../lib/addresses.ts";
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
  /** How much it gets against the others; 1 unless the Service says otherwise. */
  weight: number;
}

/** Frontends that share one set of backends: one port of a Service in one family. */
export interface ServiceGroup {
  /** Unique name, for example `default/web:http/TCP/ipv4`. */
  key: string;
  /** When its object was made (RFC 3339): of two that want one address and port, the older one has it. */
  since: string;
  protocol: number;
  frontends: Frontend[];
  /** For the traffic policy Cluster, in the same order on every node. */
  backends: Backend[];
  /** For the traffic policy Local; empty when no frontend has it. */
  localBackends: Backend[];
  /** Every endpoint that is there in any state, as `address port`: connections to these live on. */
  known: string[];
  /** For frontends with SERVICE_SOURCE_RANGES: prefixes of the group's family. */
  sourceRanges: string[];
  /** Whether backends are found by a table that is the same on every node. */
  table: boolean;
}

/** What of this node decides about backends. */
export interface Place {
  nodeName: string;
  /** Label topology.kubernetes.io/zone. */
  zone?: string;
}

/** The health check of a Service with the external traffic policy Local. */
export interface HealthCheck {
  namespace: string;
  name: string;
  port: number;
  /** Ready endpoints on this node. */
  localEndpoints: number;
}

/** Annotation with weights by address, pod, node or zone: `zone-a=3,10.0.0.7=0`. The first that fits counts. */
export const weightsAnnotation = "shunt.dev/backend-weights";
const maxWeight = 1_000;

const protocols: Record<string, number> = { TCP: 6, UDP: 17, SCTP: 132 };
const unspecified: Record<Family, string> = { ipv4: "0.0.0.0", ipv6: "::" };
const familyOf = (address: string): Family => (address.includes(":") ? "ipv6" : "ipv4");

const isPort = (value: unknown): value is number =>
  Number.isInteger(value) && (value as number) > 0 && (value as number) < 65_536;
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

/** What the maps should hold for one Service with its EndpointSlices, seen from a node. */
export function serviceGroups(
  service: KubeObject,
  slices: readonly KubeObject[],
  place: Place,
): ServiceGroup[] {
  if (!isHandled(service)) return [];
  const { spec, metadata } = service;
  // What no API server would let in is left out here, so that it harms no other Service.
  const clusterIPs = (list(spec.clusterIPs).length > 0 ? list(spec.clusterIPs) : [spec.clusterIP]).filter(
    isAddress,
  );
  const weights = parseWeights(metadata.annotations?.[weightsAnnotation]);
  return clusterIPs.flatMap((clusterIP: string) => {
    const family = familyOf(clusterIP);
    const sourceRanges = sourceRangesOf(spec, family);
    return list(spec.ports).flatMap((port): ServiceGroup[] => {
      const name = port.protocol ?? "TCP";
      const protocol = Object.hasOwn(protocols, name) ? protocols[name] : undefined;
      if (protocol === undefined || !isPort(port.port)) return [];
      const flags =
        (sourceRanges.length > 0 ? serviceFlags.SERVICE_SOURCE_RANGES : 0) |
        (weights.size > 0 ? serviceFlags.SERVICE_WEIGHTED : 0);
      const frontends = frontendsOf(service, clusterIP, port, protocol, flags);
      const endpoints = endpointsOf(service, slices, port, family, place.nodeName);
      const { cluster, local } = chooseEndpoints(endpoints, place);
      const backendsOf = (chosen: readonly Endpoint[]): Backend[] =>
        chosen.map((endpoint) => ({
          address: endpoint.address,
          port: endpoint.port,
          weight: weightOf(endpoint, weights),
        }));
      return [
        {
          key: `${metadata.namespace}/${metadata.name}:${port.name ?? ""}/${name}/${family}`,
          since: metadata.creationTimestamp ?? "",
          protocol,
          frontends,
          backends: backendsOf(cluster),
          localBackends: frontends.some((frontend) => (frontend.flags & eitherLocal) !== 0)
            ? backendsOf(local)
            : [],
          known: endpoints.map((endpoint) => `${endpoint.address} ${endpoint.port}`),
          sourceRanges,
          table: weights.size > 0 || frontends.length > 1,
        },
      ];
    });
  });
}

const eitherLocal = serviceFlags.SERVICE_INTERNAL_LOCAL | serviceFlags.SERVICE_EXTERNAL_LOCAL;

/** The health check that a load balancer asks this node for, when the Service has one. */
export function healthCheckOf(
  service: KubeObject,
  slices: readonly KubeObject[],
  { nodeName }: Place,
): HealthCheck | undefined {
  const { spec, metadata } = service;
  const port = spec?.healthCheckNodePort;
  if (
    !isHandled(service) ||
    spec.type !== "LoadBalancer" ||
    spec.externalTrafficPolicy !== "Local" ||
    !(port > 0)
  )
    return undefined;
  const local = new Set(
    slices
      .flatMap((slice) => list(slice.endpoints))
      .filter((entry) => entry.nodeName === nodeName && entry.conditions?.ready !== false)
      .map((entry) => entry.addresses?.[0]),
  );
  return { namespace: metadata.namespace!, name: metadata.name!, port, localEndpoints: local.size };
}

/** Valid prefixes of the family; a Service with ranges of the other family alone serves everyone in this one. */
function sourceRangesOf(spec: any, family: Family): string[] {
  if (spec.type !== "LoadBalancer") return [];
  return list(spec.loadBalancerSourceRanges).flatMap((text) => {
    try {
      const cidr = parseCidr(String(text).trim());
      return cidr.family === family ? [cidr.text] : [];
    } catch {
      return [];
    }
  });
}

/** Reads `zone-a=3,10.0.0.7=0`; what is no weight from 0 to 1000 is left out. */
function parseWeights(text: string | undefined): Map<string, number> {
  const pairs = (text ?? "").split(",").flatMap((part): [string, number][] => {
    const match = /^\s*(\S+?)\s*=\s*(\d{1,4})\s*$/.exec(part);
    const weight = Number(match?.[2]);
    return match === null || weight > maxWeight ? [] : [[match[1]!, weight]];
  });
  return new Map(pairs);
}

function weightOf(endpoint: Endpoint, weights: ReadonlyMap<string, number>): number {
  for (const name of [endpoint.address, endpoint.pod, endpoint.nodeName, endpoint.zone])
    if (name !== undefined && weights.has(name)) return weights.get(name)!;
  return 1;
}

function frontendsOf(
  service: KubeObject,
  clusterIP: string,
  port: any,
  protocol: number,
  shared: number,
): Frontend[] {
  const { spec, status } = service;
  const family = familyOf(clusterIP);
  const affinitySeconds =
    spec.sessionAffinity === "ClientIP"
      ? (spec.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? 10_800)
      : 0;
  const weighted = shared & serviceFlags.SERVICE_WEIGHTED;
  const make = (address: string, number: number, flags: number): Frontend => ({
    address,
    port: number,
    protocol,
    flags: flags | weighted,
    affinitySeconds,
  });
  const internal = spec.internalTrafficPolicy === "Local" ? serviceFlags.SERVICE_INTERNAL_LOCAL : 0;
  const external = spec.externalTrafficPolicy === "Local" ? serviceFlags.SERVICE_EXTERNAL_LOCAL : 0;
  const balanced = list(status?.loadBalancer?.ingress)
    .filter((ingress) => typeof ingress.ip === "string" && ingress.ipMode !== "Proxy")
    .map((ingress) => ingress.ip as string);
  const ofFamily = (addresses: string[]): Set<string> =>
    new Set(addresses.filter((address) => isAddress(address) && familyOf(address) === family));
  const externalIPs = ofFamily(list(spec.externalIPs));
  return [
    make(clusterIP, port.port, internal),
    ...[...externalIPs].map((address) => make(address, port.port, external)),
    ...[...ofFamily(balanced)]
      .filter((address) => !externalIPs.has(address))
      .map((address) => make(address, port.port, external | (shared & serviceFlags.SERVICE_SOURCE_RANGES))),
    ...(isPort(port.nodePort) ? [make(unspecified[family], port.nodePort, external)] : []),
  ];
}

/** An endpoint of one port, as its slices tell. */
interface Endpoint {
  address: string;
  port: number;
  ready: boolean;
  /** Not ready, but it still answers while it ends. */
  ending: boolean;
  nodeName: string | undefined;
  zone: string | undefined;
  pod: string | undefined;
  forNodes: string[];
  forZones: string[];
}

/** The endpoints of a port, each once, sorted by address and port so that every node has the same order. */
function endpointsOf(
  service: KubeObject,
  slices: readonly KubeObject[],
  port: any,
  family: Family,
  nodeName: string,
): Endpoint[] {
  const found = new Map<string, Endpoint>();
  const rank = (endpoint: Endpoint): number =>
    (endpoint.ready ? 4 : endpoint.ending ? 2 : 0) + Number(endpoint.nodeName === nodeName);
  // By name, so that the order in which slices came does not matter.
  const nameOf = ({ metadata }: KubeObject): string => metadata.name ?? "";
  for (const slice of slices.toSorted((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1))) {
    if (slice.addressType?.toLowerCase() !== family) continue;
    const target = list(slice.ports).find(
      (entry) =>
        (entry.name ?? "") === (port.name ?? "") && (entry.protocol ?? "TCP") === (port.protocol ?? "TCP"),
    );
    if (!isPort(target?.port)) continue;
    for (const entry of list(slice.endpoints)) {
      const endpoint = readEndpoint(entry, target.port, service.spec.publishNotReadyAddresses === true);
      if (endpoint === undefined || familyOf(endpoint.address) !== family) continue;
      const key = `${endpoint.address} ${endpoint.port}`;
      const other = found.get(key);
      // While an endpoint moves from one slice to another it is in both: its better state counts, then this node's.
      if (other === undefined || rank(endpoint) > rank(other)) found.set(key, endpoint);
    }
  }
  return [...found].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, endpoint]) => endpoint);
}

function readEndpoint(entry: any, port: number, publishAll: boolean): Endpoint | undefined {
  const address = entry.addresses?.[0];
  if (!isAddress(address)) return undefined;
  const { ready, serving, terminating } = entry.conditions ?? {};
  const names = (hints: unknown): string[] => list(hints).map(({ name }) => name);
  return {
    address,
    port,
    ready: ready !== false || publishAll,
    ending: terminating === true && serving !== false,
    nodeName: entry.nodeName,
    zone: entry.zone,
    pod: entry.targetRef?.kind === "Pod" ? entry.targetRef.name : undefined,
    forNodes: names(entry.hints?.forNodes),
    forZones: names(entry.hints?.forZones),
  };
}

/**
 * Those that serve, by traffic policy: the ready ones, and when there are none (for Local: none on this node) those
 * that end and still answer. Hints narrow Cluster when every ready endpoint has them and one is meant for this node,
 * else for its zone.
 */
function chooseEndpoints(
  endpoints: readonly Endpoint[],
  { nodeName, zone }: Place,
): { cluster: Endpoint[]; local: Endpoint[] } {
  const serving = (candidates: readonly Endpoint[]): Endpoint[] => {
    const ready = candidates.filter((endpoint) => endpoint.ready);
    return ready.length > 0 ? ready : candidates.filter((endpoint) => endpoint.ending);
  };
  const ready = endpoints.filter((endpoint) => endpoint.ready);
  const hinted = (hintsOf: (endpoint: Endpoint) => string[], name: string | undefined): Endpoint[] =>
    name !== undefined && ready.every((endpoint) => hintsOf(endpoint).length > 0)
      ? ready.filter((endpoint) => hintsOf(endpoint).includes(name))
      : [];
  const forNode = hinted(({ forNodes }) => forNodes, nodeName);
  const narrowed = forNode.length > 0 ? forNode : hinted(({ forZones }) => forZones, zone);
  return {
    cluster: narrowed.length > 0 ? narrowed : serving(endpoints),
    local: serving(endpoints.filter((endpoint) => endpoint.nodeName === nodeName)),
  };
}

/** The host ports of a pod of this node. */
export function hostPortGroups(pod: KubeObject): ServiceGroup[] {
  const { spec, status, metadata } = pod;
  if (spec?.hostNetwork === true || ["Succeeded", "Failed"].includes(status?.phase)) return [];
  const addresses: string[] = list(status?.podIPs)
    .map((entry) => entry?.ip)
    .filter(isAddress);
  const ports = [...list(spec?.initContainers), ...list(spec?.containers)]
    .flatMap((container) => list(container.ports))
    .filter(
      (port) =>
        isPort(port.hostPort) &&
        isPort(port.containerPort) &&
        Object.hasOwn(protocols, port.protocol ?? "TCP"),
    );
  return addresses.flatMap((address) =>
    ports.flatMap((port): ServiceGroup[] => {
      const family = familyOf(address);
      const hostIP = port.hostIP || unspecified[family];
      const anyAddress = hostIP === "0.0.0.0" || hostIP === "::";
      if (!anyAddress && (!isAddress(hostIP) || familyOf(hostIP) !== family)) return [];
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
          since: metadata.creationTimestamp ?? "",
          protocol: protocols[name]!,
          frontends: [frontend],
          backends: [{ address, port: port.containerPort, weight: 1 }],
          localBackends: [],
          known: [`${address} ${port.containerPort}`],
          sourceRanges: [],
          table: false,
        },
      ];
    }),
  );
}
