// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../../../../lib/kube-object.ts";
import { nodeFilter, type Refusal } from "./filters.ts";
import type { NodeInfo, Snapshot } from "./snapshot.ts";

/** The pods to delete so that a more important one fits a node. */
export interface Preemption {
  info: NodeInfo;
  victims: KubeObject[];
}

export const priorityOf = (pod: KubeObject): number => pod.spec.priority ?? 0;

/**
 * The node where room for the pod costs least: least important victims, then fewest. Undefined when no node
 * can be made to fit or the pod may not preempt.
 */
export function findPreemption(
  pod: KubeObject,
  snapshot: Snapshot,
  refusals: Map<string, Refusal>,
): Preemption | undefined {
  if (pod.spec.preemptionPolicy === "Never") return undefined;
  const options: Preemption[] = [];
  for (const [name, { resolvable }] of refusals) {
    const info = snapshot.nodes.get(name);
    if (!resolvable || info === undefined) continue;
    const victims = victimsOn(pod, info, snapshot);
    if (victims !== undefined && victims.length > 0) options.push({ info, victims });
  }
  const cost = ({ victims }: Preemption) => Math.max(...victims.map(priorityOf));
  options.sort((a, b) => cost(a) - cost(b) || a.victims.length - b.victims.length);
  return options[0];
}

function victimsOn(pod: KubeObject, info: NodeInfo, snapshot: Snapshot): KubeObject[] | undefined {
  const fits = () => nodeFilter(pod, snapshot)(info) === undefined;
  const lesser = [...info.pods].filter((other) => priorityOf(other) < priorityOf(pod));
  for (const other of lesser) info.remove(other);
  if (!fits()) {
    for (const other of lesser) info.add(other);
    return undefined;
  }
  // Spare the most important ones as long as the pod still fits.
  const victims: KubeObject[] = [];
  for (const other of lesser.sort((a, b) => priorityOf(b) - priorityOf(a))) {
    info.add(other);
    if (fits()) continue;
    info.remove(other);
    victims.push(other);
  }
  for (const other of victims) info.add(other);
  return victims;
}

/** The sentence about preemption in a FailedScheduling message. */
export function preemptionMessage(pod: KubeObject, refusals: Map<string, Refusal>): string {
  const total = refusals.size;
  if (pod.spec.preemptionPolicy === "Never") return "not eligible due to preemptionPolicy=Never.";
  const helpless = [...refusals.values()].filter(({ resolvable }) => !resolvable).length;
  const parts: string[] = [];
  if (helpless > 0) parts.push(`${helpless} Preemption is not helpful for scheduling`);
  if (total > helpless) parts.push(`${total - helpless} No preemption victims found for incoming pod`);
  return `0/${total} nodes are available: ${parts.join(", ")}.`;
}
