// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../../../../lib/kube-object.ts";
import { rolloutBounds, statusTotal, totalReplicas, wantedReplicas } from "./deployment-math.ts";
import { type Condition, findCondition } from "./pod-state.ts";
import { apiTime, withCondition, withoutCondition } from "./status-write.ts";

/** Whether every pod is of the new template, available, and none of the old is left. */
export function isComplete(deployment: KubeObject, status: any): boolean {
  const wanted = wantedReplicas(deployment);
  return (
    (status.updatedReplicas ?? 0) === wanted &&
    (status.replicas ?? 0) === wanted &&
    (status.availableReplicas ?? 0) === wanted &&
    status.observedGeneration >= (deployment.metadata.generation ?? 0)
  );
}

function counts(deployment: KubeObject, all: KubeObject[], newSet: KubeObject | undefined): any {
  const available = statusTotal(all, "availableReplicas");
  const status: any = {
    observedGeneration: deployment.metadata.generation,
    replicas: statusTotal(all, "replicas"),
    updatedReplicas: newSet === undefined ? 0 : (newSet.status?.replicas ?? 0),
    readyReplicas: statusTotal(all, "readyReplicas"),
    availableReplicas: available,
    unavailableReplicas: Math.max(0, totalReplicas(all) - available),
    collisionCount: deployment.status?.collisionCount,
  };
  for (const [field, value] of Object.entries(status))
    if (value === undefined || (value === 0 && field !== "observedGeneration")) delete status[field];
  return status;
}

/** The Progressing condition with reason and message; its update time is now. */
export function progressing(status: string, reason: string, message: string): Condition {
  return { type: "Progressing", status, reason, message, lastUpdateTime: apiTime() };
}

function madeProgress(before: any, after: any): boolean {
  const of = (status: any, field: string): number => status?.[field] ?? 0;
  return (
    of(after, "updatedReplicas") > of(before, "updatedReplicas") ||
    of(after, "readyReplicas") > of(before, "readyReplicas") ||
    of(after, "availableReplicas") > of(before, "availableReplicas") ||
    of(after, "replicas") - of(after, "updatedReplicas") <
      of(before, "replicas") - of(before, "updatedReplicas")
  );
}

/** Milliseconds left before the rollout counts as stuck; undefined when no deadline runs. */
export function untilDeadlineMs(deployment: KubeObject, nowMs: number): number | undefined {
  const condition = findCondition(deployment, "Progressing");
  const deadlineSeconds = deployment.spec.progressDeadlineSeconds;
  if (condition?.status === "False" || condition?.reason === "NewReplicaSetAvailable") return undefined;
  if (deadlineSeconds === undefined || deadlineSeconds >= 0x7fffffff || deployment.spec.paused)
    return undefined;
  const since = Date.parse(condition?.lastUpdateTime ?? "");
  return (Number.isNaN(since) ? nowMs : since) + deadlineSeconds * 1_000 - nowMs;
}

function progressConditions(
  deployment: KubeObject,
  status: any,
  newSet: KubeObject | undefined,
  nowMs: number,
): Condition[] {
  const conditions: Condition[] = deployment.status?.conditions ?? [];
  const present = findCondition(deployment, "Progressing");
  if (deployment.spec.progressDeadlineSeconds === undefined)
    return withoutCondition(conditions, "Progressing");
  const subject =
    newSet === undefined
      ? `Deployment "${deployment.metadata.name}"`
      : `ReplicaSet "${newSet.metadata.name}"`;
  if (present?.reason === "NewReplicaSetAvailable" && status.replicas === status.updatedReplicas)
    return conditions;
  if (isComplete(deployment, status) && newSet !== undefined)
    return withCondition(
      conditions,
      progressing("True", "NewReplicaSetAvailable", `${subject} has successfully progressed.`),
    );
  if (madeProgress(deployment.status, status) || present === undefined)
    return withCondition(conditions, progressing("True", "ReplicaSetUpdated", `${subject} is progressing.`));
  const leftMs = untilDeadlineMs(deployment, nowMs);
  if (leftMs !== undefined && leftMs <= 0)
    return withCondition(
      conditions,
      progressing("False", "ProgressDeadlineExceeded", `${subject} has timed out progressing.`),
    );
  return conditions;
}

function availability(deployment: KubeObject, status: any): Condition {
  const enough =
    (status.availableReplicas ?? 0) >= wantedReplicas(deployment) - rolloutBounds(deployment).maxUnavailable;
  return enough
    ? {
        type: "Available",
        status: "True",
        reason: "MinimumReplicasAvailable",
        message: "Deployment has minimum availability.",
      }
    : {
        type: "Available",
        status: "False",
        reason: "MinimumReplicasUnavailable",
        message: "Deployment does not have minimum availability.",
      };
}

/** The conditions with one of these set anew, keeping its update time when nothing else changes. */
function settled(conditions: Condition[], wanted: Condition): Condition[] {
  const present = conditions.find(({ type }) => type === wanted.type);
  if (present?.status === wanted.status && present.reason === wanted.reason) return conditions;
  return withCondition(conditions, { lastUpdateTime: apiTime(), ...wanted });
}

/** The whole status of a Deployment that has these ReplicaSets. */
export function deploymentStatus(
  deployment: KubeObject,
  all: KubeObject[],
  newSet: KubeObject | undefined,
  nowMs: number,
): any {
  const status = counts(deployment, all, newSet);
  let conditions = deployment.spec.paused
    ? (deployment.status?.conditions ?? [])
    : progressConditions(deployment, status, newSet, nowMs);
  conditions = settled(conditions, availability(deployment, status));
  const failed = all.map((set) => findCondition(set, "ReplicaFailure")).find((found) => found !== undefined);
  conditions =
    failed === undefined
      ? withoutCondition(conditions, "ReplicaFailure")
      : settled(conditions, {
          type: "ReplicaFailure",
          status: failed.status,
          reason: failed.reason ?? "",
          message: failed.message ?? "",
        });
  return { ...status, conditions };
}
