// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../../../../lib/kube-object.ts";
import { matchesTerm, type NodeSelectorTerm } from "./node-affinity.ts";
import { podAffinityScore, preferred } from "./pod-affinity.ts";
import { podRequests } from "./pod-resources.ts";
import type { NodeInfo, Snapshot } from "./snapshot.ts";
import { findUntolerated, type Taint } from "./taints.ts";
import { topologySpreadCrowd } from "./topology-spread.ts";

/** What a pod that asks for nothing counts as: 0.1 cores and 200 MiB, in thousandths. */
const assumed: Record<string, number> = { cpu: 100, memory: 200 * 2 ** 20 * 1_000 };

/** Share of the node left free with the pod on it, 0 to 100, mean of processor and memory. */
function leastAllocated(pod: KubeObject, info: NodeInfo): number {
  const shares = Object.keys(assumed).map((name) => {
    const total = info.allocatable.get(name) ?? 0;
    if (total === 0) return 0;
    let used = podRequests(pod).get(name) || assumed[name]!;
    for (const other of info.pods) used += podRequests(other).get(name) || assumed[name]!;
    return Math.max(0, total - used) / total;
  });
  return (shares.reduce((sum, share) => sum + share, 0) / shares.length) * 100;
}

function avoidedTaints(pod: KubeObject, info: NodeInfo): number {
  const taints: Taint[] = info.node.spec?.taints ?? [];
  return taints.filter(
    (taint) => findUntolerated([taint], pod.spec.tolerations, ["PreferNoSchedule"]) !== undefined,
  ).length;
}

function preferredNodeWeight(pod: KubeObject, info: NodeInfo): number {
  const terms: { weight: number; preference: NodeSelectorTerm }[] =
    pod.spec.affinity?.nodeAffinity?.[preferred] ?? [];
  return terms.reduce(
    (sum, { weight, preference }) => (matchesTerm(preference, info.node) ? sum + weight : sum),
    0,
  );
}

/** Brings scores to 0…100; `reverse` when less is better. Equal scores say nothing and become 0. */
function normalised(values: number[], reverse = false): number[] {
  const low = Math.min(...values);
  const high = Math.max(...values);
  if (high === low) return values.map(() => 0);
  return values.map((value) => ((reverse ? high - value : value - low) * 100) / (high - low));
}

/** Of the nodes that a pod may go to, the one that suits it best; chance decides between equals. */
export function bestNode(
  pod: KubeObject,
  nodes: NodeInfo[],
  snapshot: Snapshot,
  random = Math.random,
): NodeInfo {
  const crowd = topologySpreadCrowd(pod, snapshot);
  const affinity = podAffinityScore(pod, snapshot);
  const weighted: [weight: number, scores: number[]][] = [
    [1, nodes.map((info) => leastAllocated(pod, info))],
    [
      3,
      normalised(
        nodes.map((info) => avoidedTaints(pod, info)),
        true,
      ),
    ],
    [2, normalised(nodes.map((info) => preferredNodeWeight(pod, info)))],
    [2, normalised(nodes.map(affinity))],
    [2, normalised(nodes.map(crowd), true)],
  ];
  const totals = nodes.map((_, index) =>
    weighted.reduce((sum, [weight, scores]) => sum + weight * scores[index]!, 0),
  );
  const top = Math.max(...totals);
  const best = nodes.filter((_, index) => totals[index]! > top - 1e-6);
  return best[Math.floor(random() * best.length)]!;
}
