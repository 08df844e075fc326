// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../../../../lib/kube-object.ts";
import { parseMilli, parseWhole } from "./quantity.ts";

/** A pod as the API server stores it, or as a manifest on disk says it. */
export interface Pod extends KubeObject {
  spec: any;
}

/** A container of a pod's spec. */
export type ContainerSpec = any;

export const SOURCE_ANNOTATION = "kubernetes.io/config.source";
export const MIRROR_ANNOTATION = "kubernetes.io/config.mirror";
export const HASH_ANNOTATION = "kubernetes.io/config.hash";

/** How a pod is named to people: `namespace/name`. */
export function podName(pod: Pod): string {
  return `${pod.metadata.namespace}/${pod.metadata.name}`;
}

export const podUid = (pod: Pod): string => pod.metadata.uid ?? "";
export const initContainers = (pod: Pod): ContainerSpec[] => pod.spec.initContainers ?? [];
export const mainContainers = (pod: Pod): ContainerSpec[] => pod.spec.containers ?? [];
export const allContainers = (pod: Pod): ContainerSpec[] => [...initContainers(pod), ...mainContainers(pod)];

/** True for an init container that keeps running beside the others (restartPolicy Always). */
export const isSidecar = (container: ContainerSpec): boolean => container.restartPolicy === "Always";

/** True for a pod that came from a manifest on this node's disk. */
export function isStatic(pod: Pod): boolean {
  return pod.metadata.annotations?.[SOURCE_ANNOTATION] === "file";
}

/** True for the API object that stands for a static pod. */
export function isMirror(pod: Pod): boolean {
  return pod.metadata.annotations?.[MIRROR_ANNOTATION] !== undefined;
}

export const isHostNetwork = (pod: Pod): boolean => pod.spec.hostNetwork === true;

/** True when the pod has ended for good. */
export function isTerminal(pod: Pod): boolean {
  return pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed";
}

export type QosClass = "Guaranteed" | "Burstable" | "BestEffort";

/** The class by which the pod is placed in the cgroup tree and chosen when memory runs out. */
export function qosClass(pod: Pod): QosClass {
  let any = false;
  let guaranteed = true;
  for (const container of allContainers(pod)) {
    const { requests = {}, limits = {} } = container.resources ?? {};
    for (const name of ["cpu", "memory"]) {
      const parse = name === "cpu" ? parseMilli : parseWhole;
      const limit = limits[name] === undefined ? 0 : parse(limits[name]);
      const request = requests[name] === undefined ? limit : parse(requests[name]);
      if (limit > 0 || request > 0) any = true;
      if (limit === 0 || request !== limit) guaranteed = false;
    }
  }
  if (!any) return "BestEffort";
  return guaranteed ? "Guaranteed" : "Burstable";
}

/** Path of the pod's cgroup below the node's cgroup root. */
export function podCgroup(pod: Pod): string {
  const qos = qosClass(pod);
  const folder = qos === "Guaranteed" ? "" : `/${qos.toLowerCase()}`;
  return `/kubepods${folder}/pod${podUid(pod)}`;
}

/** Every path that a pod's cgroup may have, for pods of which only the id is known. */
export function podCgroups(uid: string): string[] {
  return ["", "/burstable", "/besteffort"].map((folder) => `/kubepods${folder}/pod${uid}`);
}

/** Seconds a pod has to end by itself, as its spec and its deletion say. */
export function graceSeconds(pod: Pod): number {
  return pod.metadata.deletionGracePeriodSeconds ?? pod.spec.terminationGracePeriodSeconds ?? 30;
}

/** The host name inside the pod. */
export function podHostname(pod: Pod, nodeName: string): string {
  if (isHostNetwork(pod)) return nodeName;
  const name: string = pod.spec.hostname ?? pod.metadata.name ?? "";
  return name.slice(0, 63).replace(/[-.]+$/, "");
}

/** The number of a port that may be given by name. Undefined when the container has no such port. */
export function resolvePort(container: ContainerSpec, port: string | number): number | undefined {
  if (typeof port === "number") return port;
  if (/^\d+$/.test(port)) return Number(port);
  return container.ports?.find((entry: any) => entry.name === port)?.containerPort;
}
