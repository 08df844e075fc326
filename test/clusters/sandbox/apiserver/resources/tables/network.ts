// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../resource.ts";
import { ageOf, type Cell, formatLabels, formatSelector, type Table, table } from "./table.ts";

const SHOWN = 3;

function shorten(items: string[], empty: string): string {
  if (items.length === 0) return empty;
  const more = items.length - SHOWN;
  return items.slice(0, SHOWN).join(",") + (more > 0 ? ` + ${more} more...` : "");
}

function serviceCells(service: KubeObject, now: Date): Cell[] {
  const { spec = {} } = service;
  return [
    spec.type ?? "",
    spec.clusterIPs?.[0] || spec.clusterIP || "<none>",
    externalAddress(service),
    servicePorts(spec.ports),
    ageOf(service, now),
    formatLabels(spec.selector),
  ];
}

function externalAddress(service: KubeObject): string {
  const { spec = {}, status = {} } = service;
  if (spec.type === "ExternalName") return spec.externalName ?? "";
  const external: string[] = spec.externalIPs ?? [];
  if (spec.type !== "LoadBalancer") return external.join(",") || "<none>";
  const ingress = (status.loadBalancer?.ingress ?? []).map((item: KubeObject) => item.ip || item.hostname);
  return [...new Set([...ingress, ...external])].join(",") || "<pending>";
}

function servicePorts(ports: KubeObject[] | undefined): string {
  if (!ports?.length) return "<none>";
  return ports
    .map((port) => `${port.port}${port.nodePort ? `:${port.nodePort}` : ""}/${port.protocol ?? "TCP"}`)
    .join(",");
}

function joinHostPort(host: string, port: number): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

function endpointsText(subsets: KubeObject[] | undefined): string {
  const all = (subsets ?? []).flatMap((subset) => {
    const addresses: string[] = (subset.addresses ?? []).map((item: KubeObject) => item.ip);
    if (!subset.ports?.length) return addresses;
    return subset.ports.flatMap((port: KubeObject) => addresses.map((ip) => joinHostPort(ip, port.port)));
  });
  return shorten(all, "<none>");
}

function sliceCells(slice: KubeObject, now: Date): Cell[] {
  const ports = (slice.ports ?? []).map((item: KubeObject) => String(item.port ?? "*"));
  const addresses = (slice.endpoints ?? []).flatMap((item: KubeObject) => item.addresses ?? []);
  return [
    slice.addressType ?? "",
    shorten(ports, "<unset>"),
    shorten(addresses, "<unset>"),
    ageOf(slice, now),
  ];
}

function ingressCells(ingress: KubeObject, now: Date): Cell[] {
  const { spec = {}, status = {} } = ingress;
  const hosts = (spec.rules ?? []).map((rule: KubeObject) => rule.host).filter(Boolean);
  const addresses = (status.loadBalancer?.ingress ?? []).map((item: KubeObject) => item.ip || item.hostname);
  return [
    spec.ingressClassName ?? "<none>",
    shorten(hosts, "*"),
    addresses.join(","),
    spec.tls?.length ? "80, 443" : "80",
    ageOf(ingress, now),
  ];
}

/** How services, endpoints and the networking group are printed. */
export const NETWORK_TABLES: Record<string, Table> = {
  "/Service": table("Type | Cluster-IP | External-IP | Port(s) | Age | +Selector", serviceCells),
  "/Endpoints": table("Endpoints | Age", (object, now) => [
    endpointsText(object.subsets),
    ageOf(object, now),
  ]),
  "discovery.k8s.io/EndpointSlice": table("AddressType | Ports | Endpoints | Age", sliceCells),
  "networking.k8s.io/NetworkPolicy": table("Pod-Selector | Age", (object, now) => [
    formatSelector(object.spec?.podSelector),
    ageOf(object, now),
  ]),
  "networking.k8s.io/Ingress": table("Class | Hosts | Address | Ports | Age", ingressCells),
  "networking.k8s.io/IngressClass": table("Controller | Parameters | Age", (object, now) => {
    const parameters = object.spec?.parameters;
    const kind = parameters?.apiGroup ? `${parameters.kind}.${parameters.apiGroup}` : parameters?.kind;
    return [
      object.spec?.controller ?? "",
      parameters ? `${kind}/${parameters.name}` : "<none>",
      ageOf(object, now),
    ];
  }),
};
