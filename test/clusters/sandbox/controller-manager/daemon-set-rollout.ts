// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../../../../lib/kube-object.ts";
import { revisionHashLabel } from "./controller-revisions.ts";
import { isPodAvailable, isPodReady } from "./pod-state.ts";
import { portionOf } from "./pod-template.ts";

/** What is on one node: the daemon pods there, oldest first, without those that have ended. */
export interface NodePods {
  node: KubeObject;
  shouldRun: boolean;
  mayStay: boolean;
  pods: KubeObject[];
}

/** What a rolling update does next. */
export interface RolloutStep {
  remove: KubeObject[];
  surgeOn: KubeObject[];
}

const isDying = (pod: KubeObject): boolean => pod.metadata.deletionTimestamp !== undefined;

/** How many nodes may lack an available pod, and how many may have two, during a rolling update. */
function daemonBounds(set: KubeObject, desired: number): { maxUnavailable: number; maxSurge: number } {
  const rolling = set.spec.updateStrategy?.rollingUpdate ?? {};
  const maxSurge = portionOf(rolling.maxSurge, desired, "up", 0);
  const maxUnavailable = portionOf(rolling.maxUnavailable, desired, "up", maxSurge > 0 ? 0 : 1);
  return { maxUnavailable: maxSurge === 0 ? Math.max(1, maxUnavailable) : maxUnavailable, maxSurge };
}

/** Decides which outdated daemon pods to delete and on which nodes to start a new one beside the old. */
export function rollDaemons(set: KubeObject, hash: string, placed: NodePods[], nowMs: number): RolloutStep {
  const wanted = placed.filter(({ shouldRun }) => shouldRun);
  const { maxUnavailable, maxSurge } = daemonBounds(set, wanted.length);
  const minReadySeconds = set.spec.minReadySeconds ?? 0;
  const isAvailable = (pod: KubeObject) => isPodAvailable(pod, minReadySeconds, nowMs) && !isDying(pod);
  const isNew = (pod: KubeObject) => pod.metadata.labels?.[revisionHashLabel] === hash;
  const step: RolloutStep = { remove: [], surgeOn: [] };
  if (maxSurge > 0) {
    surge(wanted, maxSurge, isAvailable, isNew, step);
    return step;
  }
  let unavailable = 0;
  const candidates: KubeObject[] = [];
  for (const { pods } of wanted) {
    const alive = pods.filter((pod) => !isDying(pod));
    const old = alive.find((pod) => !isNew(pod));
    const isServed = alive.some(isAvailable);
    if (!isServed) unavailable++;
    if (old === undefined) continue;
    // A pod that serves nobody may go whatever the budget.
    if (isServed) candidates.push(old);
    else step.remove.push(old);
  }
  step.remove.push(...candidates.slice(0, Math.max(0, maxUnavailable - unavailable)));
  return step;
}

function surge(
  wanted: NodePods[],
  maxSurge: number,
  isAvailable: (pod: KubeObject) => boolean,
  isNew: (pod: KubeObject) => boolean,
  step: RolloutStep,
): void {
  let surging = 0;
  const candidates: KubeObject[] = [];
  for (const { node, pods } of wanted) {
    const alive = pods.filter((pod) => !isDying(pod));
    const old = alive.find((pod) => !isNew(pod));
    const fresh = alive.find(isNew);
    if (old === undefined) continue;
    if (fresh === undefined) {
      if (isAvailable(old)) candidates.push(node);
      else step.remove.push(old);
    } else if (isAvailable(fresh)) step.remove.push(old);
    else surging++;
  }
  step.surgeOn.push(...candidates.slice(0, Math.max(0, maxSurge - surging)));
}

/** The status counts of a DaemonSet. */
export function daemonStatus(set: KubeObject, hash: string, placed: NodePods[], nowMs: number): any {
  const status = {
    ...set.status,
    desiredNumberScheduled: 0,
    currentNumberScheduled: 0,
    numberMisscheduled: 0,
    numberReady: 0,
    updatedNumberScheduled: 0,
    numberAvailable: 0,
    observedGeneration: set.metadata.generation,
  };
  for (const { shouldRun, pods } of placed) {
    if (!shouldRun) {
      if (pods.length > 0) status.numberMisscheduled++;
      continue;
    }
    status.desiredNumberScheduled++;
    if (pods.length === 0) continue;
    status.currentNumberScheduled++;
    const isNew = (pod: KubeObject) => pod.metadata.labels?.[revisionHashLabel] === hash;
    const ready = pods.filter((pod) => isPodReady(pod) && !isDying(pod));
    if (ready.length > 0) status.numberReady++;
    if (ready.some((pod) => isPodAvailable(pod, set.spec.minReadySeconds ?? 0, nowMs)))
      status.numberAvailable++;
    if (pods.some(isNew)) status.updatedNumberScheduled++;
  }
  const numberUnavailable = status.desiredNumberScheduled - status.numberAvailable;
  const { updatedNumberScheduled, numberAvailable, ...always } = status;
  return {
    ...always,
    ...(updatedNumberScheduled > 0 ? { updatedNumberScheduled } : { updatedNumberScheduled: undefined }),
    ...(numberAvailable > 0 ? { numberAvailable } : { numberAvailable: undefined }),
    numberUnavailable: numberUnavailable > 0 ? numberUnavailable : undefined,
  };
}
