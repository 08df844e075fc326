// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../../../../lib/kube-object.ts";
import { findCondition, isPodActive, isPodReady } from "./pod-state.ts";

export const indexAnnotation = "batch.kubernetes.io/job-completion-index";
const firstBackoffMs = 10_000;
const lastBackoffMs = 360_000;

/** What became of a Job's pods. */
export interface JobCounts {
  active: KubeObject[];
  terminating: number;
  ready: number;
  succeeded: number;
  failed: number;
  completedIndexes: Set<number>;
}

export const isIndexed = (job: KubeObject): boolean => job.spec.completionMode === "Indexed";
const podIndex = (pod: KubeObject): number => Number(pod.metadata.annotations?.[indexAnnotation] ?? -1);

/** Counts pods; what was counted before is not forgotten when a pod is deleted. */
export function countPods(job: KubeObject, pods: KubeObject[]): JobCounts {
  const active = pods.filter(isPodActive);
  const succeeded = pods.filter((pod) => pod.status?.phase === "Succeeded");
  const failed = pods.filter((pod) => pod.status?.phase === "Failed");
  const completedIndexes = new Set([
    ...parseIndexes(job.status?.completedIndexes),
    ...succeeded.map(podIndex).filter((index) => index >= 0),
  ]);
  return {
    active,
    terminating: pods.filter(
      (pod) =>
        pod.metadata.deletionTimestamp !== undefined && !["Succeeded", "Failed"].includes(pod.status?.phase),
    ).length,
    ready: active.filter(isPodReady).length,
    succeeded: isIndexed(job)
      ? completedIndexes.size
      : Math.max(job.status?.succeeded ?? 0, succeeded.length),
    failed: Math.max(job.status?.failed ?? 0, failed.length),
    completedIndexes,
  };
}

/** Why a Job has failed for good, or undefined. */
export function jobFailure(
  job: KubeObject,
  counts: JobCounts,
  nowMs: number,
): { reason: string; message: string } | undefined {
  const { activeDeadlineSeconds, backoffLimit = 6 } = job.spec;
  const startedMs = Date.parse(job.status?.startTime ?? "");
  if (activeDeadlineSeconds !== undefined && nowMs - startedMs >= activeDeadlineSeconds * 1_000)
    return { reason: "DeadlineExceeded", message: "Job was active longer than specified deadline" };
  const restarts = counts.active
    .flatMap((pod) => [
      ...(pod.status?.containerStatuses ?? []),
      ...(pod.status?.initContainerStatuses ?? []),
    ])
    .reduce((sum, status) => sum + (status.restartCount ?? 0), 0);
  const restartsCount = job.spec.template.spec.restartPolicy === "OnFailure" ? restarts : 0;
  if (counts.failed + restartsCount > backoffLimit)
    return { reason: "BackoffLimitExceeded", message: "Job has reached the specified backoff limit" };
  return undefined;
}

/** Whether a Job has done what it was for. */
export function isJobDone(job: KubeObject, counts: JobCounts): boolean {
  if (job.spec.completions === undefined || job.spec.completions === null)
    return counts.succeeded > 0 && counts.active.length === 0;
  return counts.succeeded >= job.spec.completions;
}

/** How many pods should run now. */
export function wantedActive(job: KubeObject, counts: JobCounts): number {
  const parallelism = job.spec.parallelism ?? 1;
  if (job.spec.completions === undefined || job.spec.completions === null)
    return counts.succeeded > 0 ? counts.active.length : parallelism;
  return Math.min(parallelism, Math.max(0, job.spec.completions - counts.succeeded));
}

/** The first indexes that neither run nor are done. */
export function freeIndexes(job: KubeObject, counts: JobCounts, count: number): number[] {
  const taken = new Set([...counts.completedIndexes, ...counts.active.map(podIndex)]);
  const free: number[] = [];
  for (let index = 0; index < (job.spec.completions ?? 0) && free.length < count; index++)
    if (!taken.has(index)) free.push(index);
  return free;
}

/** Milliseconds to wait before another pod is made after failures. */
export function jobBackoffMs(pods: KubeObject[], failed: number, nowMs: number): number {
  if (failed === 0) return 0;
  const ends = pods
    .filter((pod) => pod.status?.phase === "Failed")
    .map((pod) => {
      const finished = (pod.status.containerStatuses ?? []).map((status: any) =>
        Date.parse(status.state?.terminated?.finishedAt ?? ""),
      );
      const times = finished.filter((time: number) => !Number.isNaN(time));
      return times.length > 0
        ? Math.max(...times)
        : Date.parse(findCondition(pod, "Ready")?.lastTransitionTime ?? pod.metadata.creationTimestamp ?? "");
    });
  const delayMs = Math.min(firstBackoffMs * 2 ** (failed - 1), lastBackoffMs);
  return Math.max(0, Math.max(0, ...ends) + delayMs - nowMs);
}

/** `1,3-5` as numbers. */
export function parseIndexes(text: string | undefined): number[] {
  if (!text) return [];
  return text.split(",").flatMap((part) => {
    const [from = 0, to = from] = part.split("-").map(Number);
    return Array.from({ length: to - from + 1 }, (_, offset) => from + offset);
  });
}

/** Numbers as `1,3-5`. */
export function formatIndexes(indexes: Iterable<number>): string {
  const ranges: [number, number][] = [];
  for (const index of [...indexes].sort((a, b) => a - b)) {
    const last = ranges.at(-1);
    if (last !== undefined && last[1] === index - 1) last[1] = index;
    else ranges.push([index, index]);
  }
  return ranges
    .map(([from, to]) => (from === to ? `${from}` : to === from + 1 ? `${from},${to}` : `${from}-${to}`))
    .join(",");
}
