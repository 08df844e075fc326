// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../../lib/kube-object.ts";

/** Annotation on a node that Shunt cordoned: a CordonRecord as JSON. */
export const cordonAnnotation = "shunt.dev/cordon";

/** Label by which load balancers of clouds leave a node out. */
export const excludeLabel = "node.kubernetes.io/exclude-from-external-load-balancers";

/** Field manager under which Shunt cordons; another one in its place means that somebody else did. */
export const cordonManager = "shunt-cordon";

/** Who cordoned a node, and how it was before. */
export interface CordonRecord {
  /** Who: only the same may undo it. */
  by: string;
  /** When, RFC 3339. */
  at: string;
  /** Whether the node was cordoned already; then it stays so. */
  wasCordoned: boolean;
  /** Who had cordoned it and when, as far as the API server knows. */
  before?: { by: string; at?: string };
  /** Whether Shunt put the load balancer label on it. */
  labelled: boolean;
}

/** The record on a node; undefined when there is none that can be read. */
export function readCordonRecord(node: KubeObject): CordonRecord | undefined {
  const text = node.metadata.annotations?.[cordonAnnotation];
  if (text === undefined) return undefined;
  try {
    const record = JSON.parse(text) as CordonRecord;
    return typeof record?.by === "string" && typeof record.wasCordoned === "boolean" ? record : undefined;
  } catch {
    return undefined;
  }
}

/** Who set `spec.unschedulable` last, as the API server's field management has it. */
export function cordonedBy(node: KubeObject): { by: string; at?: string } | undefined {
  for (const entry of (node.metadata.managedFields ?? []) as any[])
    if (entry.fieldsV1?.["f:spec"]?.["f:unschedulable"] !== undefined)
      return { by: entry.manager, ...(entry.time === undefined ? {} : { at: entry.time }) };
  return undefined;
}

/** Whether the node's being cordoned is this party's doing, still and alone. */
export function isOwnCordon(node: KubeObject, by: string): boolean {
  const record = readCordonRecord(node);
  if (record === undefined || record.by !== by || record.wasCordoned) return false;
  const owner = cordonedBy(node);
  return owner === undefined || owner.by === cordonManager;
}
