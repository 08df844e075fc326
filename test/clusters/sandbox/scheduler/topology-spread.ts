// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../../../../lib/kube-object.ts";
import { matchesSelector } from "../../../../lib/label-selector.ts";
import { matchesNodeAffinity } from "./node-affinity.ts";
import type { NodeInfo, Snapshot } from "./snapshot.ts";
import { findUntolerated } from "./taints.ts";

interface Constraint {
  topologyKey: string;
  maxSkew: number;
  minDomains?: number;
  whenUnsatisfiable: string;
  labelSelector?: any;
  matchLabelKeys?: string[];
  nodeAffinityPolicy?: string;
  nodeTaintsPolicy?: string;
}

function selects(constraint: Constraint, pod: KubeObject, other: KubeObject): boolean {
  if (other.metadata.namespace !== pod.metadata.namespace) return false;
  if (other.metadata.deletionTimestamp !== undefined) return false;
  const sameKeys = (constraint.matchLabelKeys ?? []).every(
    (key) =>
      pod.metadata.labels?.[key] === undefined || pod.metadata.labels[key] === other.metadata.labels?.[key],
  );
  return sameKeys && matchesSelector(constraint.labelSelector, other.metadata.labels);
}

function counts(constraint: Constraint, pod: KubeObject, nodes: NodeInfo[]): Map<string, number> {
  const perDomain = new Map<string, number>();
  for (const info of nodes) {
    const domain = info.label(constraint.topologyKey);
    if (domain === undefined) continue;
    if (constraint.nodeAffinityPolicy !== "Ignore" && !matchesNodeAffinity(pod.spec, info.node)) continue;
    if (
      constraint.nodeTaintsPolicy === "Honor" &&
      findUntolerated(info.node.spec?.taints, pod.spec.tolerations, ["NoSchedule", "NoExecute"]) !== undefined
    )
      continue;
    let count = 0;
    for (const other of info.pods) if (selects(constraint, pod, other)) count++;
    perDomain.set(domain, (perDomain.get(domain) ?? 0) + count);
  }
  return perDomain;
}

const constraints = (pod: KubeObject, action: string): Constraint[] =>
  (pod.spec.topologySpreadConstraints ?? []).filter(
    (entry: Constraint) => entry.whenUnsatisfiable === action,
  );

/** Prepares the check of the spread constraints that must hold; it names why a node does not do. */
export function topologySpreadFilter(
  pod: KubeObject,
  snapshot: Snapshot,
): (info: NodeInfo) => string | undefined {
  const hard = constraints(pod, "DoNotSchedule");
  const eligible = snapshot.list().filter((info) => hard.every(({ topologyKey }) => info.label(topologyKey)));
  const prepared = hard.map((constraint) => {
    const perDomain = counts(constraint, pod, eligible);
    const isShort = perDomain.size < (constraint.minDomains ?? 1);
    const least = isShort || perDomain.size === 0 ? 0 : Math.min(...perDomain.values());
    return { constraint, perDomain, least, self: selects(constraint, pod, pod) ? 1 : 0 };
  });
  return (info) => {
    for (const { constraint, perDomain, least, self } of prepared) {
      const domain = info.label(constraint.topologyKey);
      if (domain === undefined)
        return "node(s) didn't match pod topology spread constraints (missing required label)";
      if ((perDomain.get(domain) ?? 0) + self - least > constraint.maxSkew)
        return "node(s) didn't match pod topology spread constraints";
    }
    return undefined;
  };
}

/** How many pods a node's domains hold already of those that should spread; fewer is better. */
export function topologySpreadCrowd(pod: KubeObject, snapshot: Snapshot): (info: NodeInfo) => number {
  const soft = constraints(pod, "ScheduleAnyway");
  const prepared = soft.map((constraint) => ({
    constraint,
    perDomain: counts(constraint, pod, snapshot.list()),
  }));
  const controllerUid = pod.metadata.ownerReferences?.find(({ controller }) => controller)?.uid;
  return (info) => {
    let crowd = 0;
    for (const { constraint, perDomain } of prepared)
      crowd += perDomain.get(info.label(constraint.topologyKey) ?? "") ?? 0;
    if (prepared.length > 0 || controllerUid === undefined) return crowd;
    // Without constraints of its own, a pod keeps away from its siblings.
    for (const other of info.pods)
      if (other.metadata.ownerReferences?.some(({ uid }) => uid === controllerUid)) crowd++;
    return crowd;
  };
}
