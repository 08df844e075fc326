// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../../../../lib/kube-object.ts";
import { matchesLabels } from "../../../../lib/label-selector.ts";

interface Requirement {
  key: string;
  operator: string;
  values?: string[];
}

export interface NodeSelectorTerm {
  matchExpressions?: Requirement[];
  matchFields?: Requirement[];
}

function matchesRequirement(value: string | undefined, { operator, values = [] }: Requirement): boolean {
  switch (operator) {
    case "In":
      return value !== undefined && values.includes(value);
    case "NotIn":
      return value === undefined || !values.includes(value);
    case "Exists":
      return value !== undefined;
    case "DoesNotExist":
      return value === undefined;
    case "Gt":
      return value !== undefined && Number(value) > Number(values[0]);
    case "Lt":
      return value !== undefined && Number(value) < Number(values[0]);
    default:
      return false;
  }
}

/** Whether a node meets all of a term; a term without requirements meets none. */
export function matchesTerm(term: NodeSelectorTerm, node: KubeObject): boolean {
  const expressions = term.matchExpressions ?? [];
  const fields = term.matchFields ?? [];
  if (expressions.length === 0 && fields.length === 0) return false;
  return (
    expressions.every((entry) => matchesRequirement(node.metadata.labels?.[entry.key], entry)) &&
    fields.every((entry) =>
      matchesRequirement(entry.key === "metadata.name" ? node.metadata.name : undefined, entry),
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
