// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../../../../lib/kube-object.ts";
import { matchesNodeAffinity } from "./node-affinity.ts";
import { podAffinityFilter } from "./pod-affinity.ts";
import { podRequests } from "./pod-resources.ts";
import { hostPorts, type NodeInfo, type Snapshot } from "./snapshot.ts";
import { findUntolerated } from "./taints.ts";
import { topologySpreadFilter } from "./topology-spread.ts";

/** Why a pod cannot go to a node. */
export interface Refusal {
  reasons: string[];
  /** Whether it might fit once other pods of the node are gone. */
  resolvable: boolean;
}

export type NodeFilter = (info: NodeInfo) => Refusal | undefined;

const never = (reason: string): Refusal => ({ reasons: [reason], resolvable: false });

function refusedByNode(pod: KubeObject, { node }: NodeInfo): Refusal | undefined {
  const { spec } = pod;
  if (spec.nodeName && spec.nodeName !== node.metadata.name)
    return never("node(s) didn't match the requested node name");
  const isCordoned = node.spec?.unschedulable === true;
  const cordonTaint = { key: "node.kubernetes.io/unschedulable", effect: "NoSchedule" };
  if (isCordoned && findUntolerated([cordonTaint], spec.tolerations, ["NoSchedule"]) !== undefined)
    return never("node(s) were unschedulable");
  const taint = findUntolerated(node.spec?.taints, spec.tolerations, ["NoSchedule", "NoExecute"]);
  if (taint !== undefined) return never(`node(s) had untolerated taint {${taint.key}: ${taint.value ?? ""}}`);
  if (!matchesNodeAffinity(spec, node)) return never("node(s) didn't match Pod's node affinity/selector");
  return undefined;
}

/** The resources of which a node has too little left, named as the scheduler's messages do. */
function insufficient(pod: KubeObject, info: NodeInfo): string[] {
  const reasons: string[] = [];
  const slots = info.allocatable.get("pods");
  if (slots !== undefined && (info.pods.size + 1) * 1_000 > slots) reasons.push("Too many pods");
  for (const [name, amount] of podRequests(pod)) {
    if (amount === 0) continue;
    const free = (info.allocatable.get(name) ?? 0) - (info.requested.get(name) ?? 0);
    if (amount > free) reasons.push(`Insufficient ${name}`);
  }
  return reasons;
}

function hasPortConflict(pod: KubeObject, info: NodeInfo): boolean {
  const wanted = hostPorts(pod);
  if (wanted.length === 0) return false;
  for (const other of info.pods)
    for (const taken of hostPorts(other))
      for (const port of wanted) {
        const isSameAddress = port.ip === taken.ip || port.ip === "0.0.0.0" || taken.ip === "0.0.0.0";
        if (isSameAddress && port.port === taken.port && port.protocol === taken.protocol) return true;
      }
  return false;
}

/** Prepares the check of everything that must hold for a pod to go to a node. */
export function nodeFilter(pod: KubeObject, snapshot: Snapshot): NodeFilter {
  const affinity = podAffinityFilter(pod, snapshot);
  const spread = topologySpreadFilter(pod, snapshot);
  return (info) => {
    const refusal = refusedByNode(pod, info);
    if (refusal !== undefined) return refusal;
    if (hasPortConflict(pod, info))
      return {
        reasons: ["node(s) didn't have free ports for the requested pod ports"],
        resolvable: true,
      };
    const lacking = insufficient(pod, info);
    if (lacking.length > 0) return { reasons: lacking, resolvable: true };
    const reason = spread(info) ?? affinity(info);
    return reason === undefined
      ? undefined
      : { reasons: [reason], resolvable: !reason.includes("affinity rules") };
  };
}

/** The text of a FailedScheduling event, in the form of the real scheduler. */
export function failureMessage(refusals: Map<string, Refusal>, preemption: string | undefined): string {
  const total = refusals.size;
  if (total === 0) return "no nodes available to schedule pods";
  const counts = new Map<string, number>();
  for (const { reasons } of refusals.values())
    for (const reason of reasons) counts.set(reason, (counts.get(reason) ?? 0) + 1);
  const parts = [...counts].map(([reason, count]) => `${count} ${reason}`).sort();
  const text = `0/${total} nodes are available: ${parts.join(", ")}.`;
  return preemption === undefined ? text : `${text} preemption: ${preemption}`;
}
