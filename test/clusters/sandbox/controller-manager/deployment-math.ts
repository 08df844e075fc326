// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../../../../lib/kube-object.ts";
import { portionOf } from "./pod-template.ts";

/** Replica counts of a rollout, apart from anything that reads or writes the cluster. */
export interface RolloutBounds {
  maxSurge: number;
  maxUnavailable: number;
}

export const wantedReplicas = (object: KubeObject): number => object.spec.replicas ?? 1;
export const totalReplicas = (sets: KubeObject[]): number =>
  sets.reduce((sum, set) => sum + wantedReplicas(set), 0);
export const statusTotal = (sets: KubeObject[], field: string): number =>
  sets.reduce((sum, set) => sum + (set.status?.[field] ?? 0), 0);

/** How far above and below the wanted count a Deployment may go; never both zero. */
export function rolloutBounds(deployment: KubeObject): RolloutBounds {
  if (deployment.spec.strategy?.type === "Recreate") return { maxSurge: 0, maxUnavailable: 0 };
  const wanted = wantedReplicas(deployment);
  const { maxSurge, maxUnavailable } = deployment.spec.strategy?.rollingUpdate ?? {};
  const surge = portionOf(maxSurge, wanted, "up", Math.ceil(wanted / 4));
  let unavailable = portionOf(maxUnavailable, wanted, "down", Math.floor(wanted / 4));
  if (surge === 0 && unavailable === 0) unavailable = 1;
  return { maxSurge: surge, maxUnavailable: Math.min(unavailable, wanted) };
}

/** How many replicas the new ReplicaSet may have now. */
export function newSetReplicas(
  deployment: KubeObject,
  all: KubeObject[],
  newSet: KubeObject | undefined,
): number {
  const wanted = wantedReplicas(deployment);
  const present = newSet === undefined ? 0 : wantedReplicas(newSet);
  if (deployment.spec.strategy?.type === "Recreate") return wanted;
  const room = wanted + rolloutBounds(deployment).maxSurge - totalReplicas(all);
  return room <= 0 ? present : present + Math.min(room, wanted - present);
}

/** New counts of the old ReplicaSets: unhealthy pods go first, then as many as availability allows. */
export function oldSetReplicas(
  deployment: KubeObject,
  old: KubeObject[],
  newSet: KubeObject,
): Map<KubeObject, number> {
  const counts = new Map(old.map((set) => [set, wantedReplicas(set)]));
  const all = [...old, newSet];
  const minAvailable = wantedReplicas(deployment) - rolloutBounds(deployment).maxUnavailable;
  const newUnavailable = wantedReplicas(newSet) - (newSet.status?.availableReplicas ?? 0);
  let removable = totalReplicas(all) - minAvailable - newUnavailable;
  const oldestFirst = [...old].sort(byCreation);
  for (const set of oldestFirst) {
    if (removable <= 0) break;
    const unhealthy = Math.max(0, counts.get(set)! - (set.status?.availableReplicas ?? 0));
    const drop = Math.min(removable, unhealthy);
    counts.set(set, counts.get(set)! - drop);
    removable -= drop;
  }
  let spare = statusTotal(all, "availableReplicas") - minAvailable;
  for (const set of oldestFirst) {
    if (spare <= 0) break;
    const drop = Math.min(spare, counts.get(set)!);
    counts.set(set, counts.get(set)! - drop);
    spare -= drop;
  }
  return counts;
}

/** New counts when a Deployment is scaled in the middle of a rollout: each set changes in proportion. */
export function proportionalReplicas(deployment: KubeObject, active: KubeObject[]): Map<KubeObject, number> {
  const wanted = wantedReplicas(deployment);
  const allowed = wanted > 0 ? wanted + rolloutBounds(deployment).maxSurge : 0;
  let toAdd = allowed - totalReplicas(active);
  const growing = toAdd > 0;
  const sorted = [...active].sort(
    (a, b) => wantedReplicas(b) - wantedReplicas(a) || (growing ? byCreation(b, a) : byCreation(a, b)),
  );
  const counts = new Map<KubeObject, number>();
  const total = toAdd;
  for (const set of sorted) {
    const present = wantedReplicas(set);
    const formerMax = Number(set.metadata.annotations?.["deployment.kubernetes.io/max-replicas"] ?? 0);
    const share = formerMax > 0 ? Math.round((present * allowed) / formerMax) - present : 0;
    const change =
      total === 0 ? 0 : growing ? Math.min(Math.max(share, 0), toAdd) : Math.max(Math.min(share, 0), toAdd);
    counts.set(set, Math.max(0, present + change));
    toAdd -= change;
  }
  const first = sorted[0];
  if (first !== undefined && toAdd !== 0) counts.set(first, Math.max(0, counts.get(first)! + toAdd));
  return counts;
}

/** Older objects first; names decide between equals. */
export function byCreation(a: KubeObject, b: KubeObject): number {
  const order =
    Date.parse(a.metadata.creationTimestamp ?? "") - Date.parse(b.metadata.creationTimestamp ?? "");
  return order || (a.metadata.name ?? "").localeCompare(b.metadata.name ?? "");
}
