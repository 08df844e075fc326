// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../../lib/kube-object.ts";
import type { Counts } from "../model/inventory.ts";
import { addSample, type ServiceDetails } from "./details.ts";
import { emptyServiceDetails } from "./empty-details.ts";

type ServiceCounts = Pick<
  Counts,
  | "services"
  | "headlessServices"
  | "nodePortServices"
  | "loadBalancerServices"
  | "externalIPServices"
  | "endpointSlices"
  | "endpoints"
>;

const hourMs = 3_600_000;
/** Rules of kube-proxy's iptables mode: about three for a port of a Service, and four for each of its endpoints. */
const rulesPerPort = 3;
const rulesPerEndpoint = 4;

/** Looks at every Service and EndpointSlice once and keeps numbers. */
export class ServiceTally {
  readonly counts: ServiceCounts = {
    services: 0,
    headlessServices: 0,
    nodePortServices: 0,
    loadBalancerServices: 0,
    externalIPServices: 0,
    endpointSlices: 0,
    endpoints: 0,
  };
  readonly details: ServiceDetails = emptyServiceDetails();
  /** A few addresses from the whole list, to guess the range by. */
  readonly clusterIPs: string[] = [];
  /** Service → ready endpoints, for those that somebody asked about. */
  readonly watched: Map<string, { exists: boolean; readyEndpoints: number }>;
  /** Endpoints of a Service that is spread over several slices. */
  readonly #spread = new Map<string, number>();
  readonly #nowMs: number;

  constructor(nowMs: number, watched: Iterable<string>) {
    this.#nowMs = nowMs;
    this.watched = new Map([...watched].map((name) => [name, { exists: false, readyEndpoints: 0 }]));
  }

  addService({ metadata, spec = {} }: KubeObject): void {
    const name = `${metadata.namespace}/${metadata.name}`;
    const { counts, details } = this;
    counts.services += 1;
    const asked = this.watched.get(name);
    if (asked !== undefined) asked.exists = true;
    if (spec.type === "ExternalName") {
      details.externalName += 1;
      return;
    }
    if (spec.selector === undefined || Object.keys(spec.selector).length === 0) details.withoutSelector += 1;
    if (spec.clusterIP === "None") {
      counts.headlessServices += 1;
      return;
    }
    if (spec.type === "NodePort") counts.nodePortServices += 1;
    if (spec.type === "LoadBalancer") counts.loadBalancerServices += 1;
    if ((spec.externalIPs ?? []).length > 0) counts.externalIPServices += 1;
    this.#describe(spec, metadata, name);
    this.#ports(spec, name);
    for (const address of spec.clusterIPs ?? [spec.clusterIP])
      if (typeof address === "string" && address !== "" && this.clusterIPs.length < 20_000)
        this.clusterIPs.push(address);
  }

  #describe(spec: any, metadata: KubeObject["metadata"], name: string): void {
    const { details } = this;
    if (spec.externalTrafficPolicy === "Local") details.externalTrafficLocal += 1;
    if (spec.internalTrafficPolicy === "Local") details.internalTrafficLocal += 1;
    if (spec.sessionAffinity === "ClientIP") details.sessionAffinity += 1;
    if (spec.healthCheckNodePort > 0) details.healthCheckNodePorts += 1;
    if ((spec.clusterIPs ?? []).length > 1) details.dualStack += 1;
    if ((spec.loadBalancerSourceRanges ?? []).length > 0) addSample(details.sourceRanges, name);
    const mode = metadata.annotations?.["service.kubernetes.io/topology-mode"];
    if (spec.trafficDistribution !== undefined || /^auto$/i.test(mode ?? "")) details.topologyAware += 1;
    if (metadata.labels?.["service.kubernetes.io/service-proxy-name"] !== undefined)
      addSample(details.otherProxy, name);
    const balancer = spec.loadBalancerClass;
    if (typeof balancer === "string")
      details.loadBalancerClasses[balancer] = (details.loadBalancerClasses[balancer] ?? 0) + 1;
  }

  #ports(spec: any, name: string): void {
    let usesSctp = false;
    for (const port of spec.ports ?? []) {
      this.details.ports += 1;
      if (port.nodePort > 0) this.details.nodePorts += 1;
      usesSctp ||= port.protocol === "SCTP";
    }
    if (usesSctp) addSample(this.details.sctp, name);
  }

  addSlice({ metadata, endpoints, ports }: KubeObject): void {
    const { counts, details } = this;
    counts.endpointSlices += 1;
    const list: any[] = endpoints ?? [];
    const ready = list.filter((endpoint) => endpoint.conditions?.ready !== false).length;
    counts.endpoints += list.length;
    details.readyEndpoints += ready;
    details.iptablesRules += rulesPerEndpoint * ready * Math.max(1, (ports ?? []).length);
    const service = `${metadata.namespace}/${metadata.labels?.["kubernetes.io/service-name"]}`;
    const asked = this.watched.get(service);
    if (asked !== undefined) asked.readyEndpoints += ready;
    this.#measureSize(service, list.length);
    this.#measureChurn(metadata);
  }

  /** A slice holds at most 100 endpoints by default: only a Service with one that is nearly full may have more. */
  #measureSize(service: string, endpoints: number): void {
    if (endpoints < 50 && endpoints <= this.details.largest.endpoints) return;
    const total = (this.#spread.get(service) ?? 0) + endpoints;
    if (endpoints >= 50) this.#spread.set(service, total);
    if (total > this.details.largest.endpoints) this.details.largest = { service, endpoints: total };
  }

  #measureChurn(metadata: KubeObject["metadata"]): void {
    const createdMs = Date.parse(metadata.creationTimestamp ?? "");
    const ageMs = this.#nowMs - createdMs;
    if (ageMs > 0)
      this.details.changesPerHour += ((metadata.generation ?? 1) * hourMs) / Math.max(ageMs, hourMs);
    const changed = Date.parse(
      metadata.annotations?.["endpoints.kubernetes.io/last-change-trigger-time"] ?? "",
    );
    const latestMs = Number.isNaN(changed) ? createdMs : changed;
    if (this.#nowMs - latestMs < hourMs) this.details.changedLastHour += 1;
  }

  /** The numbers, once everything is counted. */
  result(): ServiceDetails {
    this.details.iptablesRules += rulesPerPort * this.details.ports;
    this.details.changesPerHour = Math.round(this.details.changesPerHour * 10) / 10;
    return this.details;
  }
}
