// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../resource.ts";
import { setDefaults, setNonEmpty } from "./object.ts";

const TIMEOUT_3_HOURS_SECONDS = 10800;

/** Service; addresses and node ports are allocated later. */
export function defaultService(object: KubeObject): void {
  const spec = object.spec;
  if (!spec) return;
  setNonEmpty(spec, { sessionAffinity: "None", type: "ClusterIP" });
  if (spec.sessionAffinity === "None") delete spec.sessionAffinityConfig;
  if (spec.sessionAffinity === "ClientIP") {
    setDefaults(spec, { sessionAffinityConfig: {} });
    setDefaults(spec.sessionAffinityConfig, { clientIP: {} });
    setDefaults(spec.sessionAffinityConfig.clientIP, { timeoutSeconds: TIMEOUT_3_HOURS_SECONDS });
  }
  for (const port of Array.isArray(spec.ports) ? spec.ports : []) {
    setNonEmpty(port, { protocol: "TCP" });
    if (port.targetPort === undefined || port.targetPort === 0 || port.targetPort === "")
      port.targetPort = port.port;
  }
  if (spec.type === "NodePort" || spec.type === "LoadBalancer") {
    setNonEmpty(spec, { externalTrafficPolicy: "Cluster" });
  }
  if (spec.type !== "ExternalName") setNonEmpty(spec, { internalTrafficPolicy: "Cluster" });
  if (spec.type === "LoadBalancer") setDefaults(spec, { allocateLoadBalancerNodePorts: true });
}

/** Endpoints. */
export function defaultEndpoints(object: KubeObject): void {
  for (const subset of object.subsets ?? []) {
    for (const port of subset.ports ?? []) setNonEmpty(port, { protocol: "TCP" });
  }
}

/** EndpointSlice. */
export function defaultEndpointSlice(object: KubeObject): void {
  for (const port of object.ports ?? []) {
    setNonEmpty(port, { protocol: "TCP" });
    setDefaults(port, { name: "" });
  }
}

/** NetworkPolicy. */
export function defaultNetworkPolicy(object: KubeObject): void {
  const spec = object.spec;
  if (!spec) return;
  setDefaults(spec, { podSelector: {} });
  for (const rule of [...(spec.ingress ?? []), ...(spec.egress ?? [])]) {
    for (const port of rule?.ports ?? []) setNonEmpty(port, { protocol: "TCP" });
  }
  if (!spec.policyTypes?.length) spec.policyTypes = spec.egress?.length ? ["Ingress", "Egress"] : ["Ingress"];
}

/** IngressClass. */
export function defaultIngressClass(object: KubeObject): void {
  setDefaults(object.spec?.parameters, { scope: "Cluster" });
}
