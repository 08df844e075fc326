// SPDX-License-Identifier: Apache-2.0
import { addressFamily, type Family } from "../../../../lib/addresses.ts";
import type { KubeObject } from "../../../../lib/kube-object.ts";
import { matchesLabels } from "../../../../lib/label-selector.ts";
import { hasPodEnded, isPodReady } from "./pod-state.ts";

/** A port as EndpointSlices list it. */
export interface EndpointPort {
  name: string;
  port: number;
  protocol: string;
  appProtocol?: string;
}

/** One pod behind a Service, for one address family. */
export interface Member {
  endpoint: KubeEndpoint;
  ports: EndpointPort[];
}

/** An entry of an EndpointSlice's `endpoints`. */
export interface KubeEndpoint {
  addresses: string[];
  conditions: { ready: boolean; serving: boolean; terminating: boolean };
  nodeName?: string;
  zone?: string;
  hostname?: string;
  targetRef: { kind: "Pod"; namespace: string; name: string; uid: string };
}

/** The pods that a Service selects and that have an address; ended ones have none that answers. */
export function selectedPods(service: KubeObject, pods: Iterable<KubeObject>): KubeObject[] {
  const selected: KubeObject[] = [];
  for (const pod of pods)
    if (
      pod.metadata.namespace === service.metadata.namespace &&
      matchesLabels(service.spec.selector, pod.metadata.labels) &&
      !hasPodEnded(pod) &&
      podAddresses(pod).length > 0
    )
      selected.push(pod);
  return selected.sort((a, b) => a.metadata.name!.localeCompare(b.metadata.name!));
}

function podAddresses(pod: KubeObject): string[] {
  const many: { ip: string }[] = pod.status?.podIPs ?? [];
  if (many.length > 0) return many.map(({ ip }) => ip).filter(Boolean);
  return pod.status?.podIP ? [pod.status.podIP] : [];
}

/** The pod's address of a family, if it has one. */
function podAddress(pod: KubeObject, family: Family): string | undefined {
  return podAddresses(pod).find((address) => addressFamily(address) === family);
}

/** The number that a Service port means in this pod; undefined for a name that the pod does not have. */
function targetPort(pod: KubeObject, port: any): number | undefined {
  const target = port.targetPort ?? port.port;
  if (typeof target === "number") return target;
  const sidecars = (pod.spec.initContainers ?? []).filter((entry: any) => entry.restartPolicy === "Always");
  for (const container of [...pod.spec.containers, ...sidecars])
    for (const candidate of container.ports ?? [])
      if (candidate.name === target && (candidate.protocol ?? "TCP") === (port.protocol ?? "TCP"))
        return candidate.containerPort;
  return undefined;
}

/** The ports of a Service as this pod serves them. */
export function podPorts(service: KubeObject, pod: KubeObject): EndpointPort[] {
  const ports: EndpointPort[] = [];
  for (const port of service.spec.ports ?? []) {
    const number = targetPort(pod, port);
    if (number === undefined) continue;
    ports.push({
      name: port.name ?? "",
      port: number,
      protocol: port.protocol ?? "TCP",
      ...(port.appProtocol === undefined ? {} : { appProtocol: port.appProtocol }),
    });
  }
  return ports;
}

/** The endpoint that a pod is for a Service, or undefined when it has no address of the family. */
export function podMember(
  service: KubeObject,
  pod: KubeObject,
  family: Family,
  node: KubeObject | undefined,
): Member | undefined {
  const address = podAddress(pod, family);
  if (address === undefined) return undefined;
  const serving = isPodReady(pod);
  const terminating = pod.metadata.deletionTimestamp !== undefined;
  const ready = service.spec.publishNotReadyAddresses === true || (serving && !terminating);
  const endpoint: KubeEndpoint = {
    addresses: [address],
    conditions: { ready, serving, terminating },
    targetRef: {
      kind: "Pod",
      namespace: pod.metadata.namespace!,
      name: pod.metadata.name!,
      uid: pod.metadata.uid!,
    },
  };
  if (pod.spec.nodeName) endpoint.nodeName = pod.spec.nodeName;
  const zone = node?.metadata.labels?.["topology.kubernetes.io/zone"];
  if (zone !== undefined) endpoint.zone = zone;
  if (pod.spec.hostname && pod.spec.subdomain === service.metadata.name)
    endpoint.hostname = pod.spec.hostname;
  return { endpoint, ports: podPorts(service, pod) };
}
