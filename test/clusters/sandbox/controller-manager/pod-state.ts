// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../../../../lib/kube-object.ts";

/** Reads and sets conditions as the API's status lists keep them. */
export interface Condition {
  type: string;
  status: string;
  reason?: string;
  message?: string;
  lastTransitionTime?: string;
  lastUpdateTime?: string;
  lastProbeTime?: string | null;
  observedGeneration?: number;
}

export function findCondition(object: KubeObject, type: string): Condition | undefined {
  return (object.status?.conditions as Condition[] | undefined)?.find((entry) => entry.type === type);
}

/** Whether a pod still runs or will: neither ended nor being deleted. */
export function isPodActive(pod: KubeObject): boolean {
  return !hasPodEnded(pod) && pod.metadata.deletionTimestamp === undefined;
}

export function hasPodEnded(pod: KubeObject): boolean {
  return pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed";
}

export function isPodReady(pod: KubeObject): boolean {
  return findCondition(pod, "Ready")?.status === "True";
}

/** Ready for at least `minReadySeconds`. */
export function isPodAvailable(pod: KubeObject, minReadySeconds: number, nowMs: number): boolean {
  const ready = findCondition(pod, "Ready");
  if (ready?.status !== "True") return false;
  if (minReadySeconds === 0) return true;
  return Date.parse(ready.lastTransitionTime ?? "") + minReadySeconds * 1_000 <= nowMs;
}

/** Milliseconds until some ready pod becomes available; undefined when none is waiting. */
export function untilAvailableMs(
  pods: KubeObject[],
  minReadySeconds: number,
  nowMs: number,
): number | undefined {
  if (minReadySeconds === 0) return undefined;
  const waits = pods
    .filter((pod) => isPodReady(pod) && !isPodAvailable(pod, minReadySeconds, nowMs))
    .map(
      (pod) =>
        Date.parse(findCondition(pod, "Ready")?.lastTransitionTime ?? "") + minReadySeconds * 1_000 - nowMs,
    );
  return waits.length === 0 ? undefined : Math.max(10, Math.min(...waits));
}

const phaseRank: Record<string, number> = { Pending: 0, Unknown: 1, Running: 2 };

function restarts(pod: KubeObject): number {
  const statuses: { restartCount?: number }[] = pod.status?.containerStatuses ?? [];
  return Math.max(0, ...statuses.map((status) => status.restartCount ?? 0));
}

/**
 * Sorts pods so that the ones to delete first come first: not yet placed, not yet running, not ready, cheap by
 * annotation, on a node with more of them, ready for a shorter time, often restarted, young.
 */
export function sortForDeletion(pods: KubeObject[]): KubeObject[] {
  const perNode = Map.groupBy(pods.filter(isPodActive), (pod) => pod.spec.nodeName);
  const keys = (pod: KubeObject): number[] => [
    pod.spec.nodeName ? 1 : 0,
    phaseRank[pod.status?.phase ?? "Pending"] ?? 0,
    isPodReady(pod) ? 1 : 0,
    Number(pod.metadata.annotations?.["controller.kubernetes.io/pod-deletion-cost"] ?? 0) || 0,
    -(perNode.get(pod.spec.nodeName)?.length ?? 0),
    isPodReady(pod) ? -Date.parse(findCondition(pod, "Ready")?.lastTransitionTime ?? "") || 0 : 0,
    -restarts(pod),
    -Date.parse(pod.metadata.creationTimestamp ?? "") || 0,
  ];
  return pods
    .map((pod) => ({ pod, keys: keys(pod) }))
    .sort((a, b) => a.keys.map((key, index) => key - b.keys[index]!).find((order) => order !== 0) ?? 0)
    .map(({ pod }) => pod);
}
