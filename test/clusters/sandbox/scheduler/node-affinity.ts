// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../../../../lib/kube-object.ts";
import { matchesLabels, matchesRequirement, type Requirement } from "../../../../lib/label-selector.ts";

export interface NodeSelectorTerm {
  matchExpressions?: Requirement[];
  matchFields?: Requirement[];
}

/** Nodes are also compared by number. */
function matchesNodeRequirement(value: string | undefined, requirement: Requirement): boolean {
  const bound = Number(requirement.values?.[0]);
  if (requirement.operator === "Gt") return value !== undefined && Number(value) > bound;
  if (requirement.operator === "Lt") return value !== undefined && Number(value) < bound;
  return matchesRequirement(value, requirement);
}

/** Whether a node meets all of a term; a term without requirements meets none. */
export function matchesTerm(term: NodeSelectorTerm, node: KubeObject): boolean {
  const expressions = term.matchExpressions ?? [];
  const fields = term.matchFields ?? [];
  if (expressions.length === 0 && fields.length === 0) return false;
  return (
    expressions.every((entry) => matchesNodeRequirement(node.metadata.labels?.[entry.key], entry)) &&
    fields.every((entry) =>
      matchesNodeRequirement(entry.key === "metadata.name" ? node.metadata.name : undefined, entry),
    )
  );
}

/** Whether a node is one that the pod's nodeSelector and required node affinity allow. */
export function matchesNodeAffinity(podSpec: any, node: KubeObject): boolean {
  if (!matchesLabels(podSpec.nodeSelector, node.metadata.labels)) return false;
  const required = podSpec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  if (required === undefined || required === null) return true;
  return (required.nodeSelectorTerms ?? []).some((term: NodeSelectorTerm) => matchesTerm(term, node));
}
