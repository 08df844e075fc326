// SPDX-License-Identifier: Apache-2.0
import { addressFamily, type Family } from "../../lib/addresses.ts";
import { ShuntError } from "../../lib/errors.ts";
import { type KubeClient, resourcePath } from "../../lib/kube.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import type { Addresses } from "./endpoint.ts";
import type { ConnectivityOptions, Toleration } from "./options.ts";
import type { NodeInfo } from "./world.ts";

export interface Placement {
  /** All nodes, or those that were named. */
  nodes: NodeInfo[];
  /** Node of the clients and of the echo server beside them. */
  first: NodeInfo;
  /** Another node; undefined when there is none or one is enough. */
  second: NodeInfo | undefined;
}

/** Chooses the nodes that carry the test's pods. */
export async function choosePlacement(
  kube: KubeClient,
  options: Pick<ConnectivityOptions, "singleNode" | "nodes" | "nodeSelector" | "tolerations">,
): Promise<Placement> {
  const list = await kube.list(resourcePath("v1", "nodes"));
  const named = options.nodes.flatMap(
    (name) => list.items.find(({ metadata }) => metadata.name === name) ?? [],
  );
  if (named.length > 0)
    return {
      nodes: named.map(nodeInfo),
      first: nodeInfo(named[0]!),
      second: named.slice(1).map(nodeInfo)[0],
    };
  const usable = list.items
    .filter((node) => isUsable(node, options.tolerations))
    .filter((node) =>
      Object.entries(options.nodeSelector).every(([key, value]) => node.metadata.labels?.[key] === value),
    )
    .map(nodeInfo);
  const [first, second] = usable;
  if (first === undefined)
    throw new ShuntError(`None of ${list.items.length} nodes can carry the test's pods`, {
      code: "NoNode",
      remedy: "They must be Ready, schedulable and match --node-selector; see --tolerations for taints.",
    });
  return { nodes: list.items.map(nodeInfo), first, second: options.singleNode ? undefined : second };
}

/** Ready, not cordoned, and without a taint that the pods do not tolerate. */
export function isUsable(node: KubeObject, tolerations: readonly Toleration[]): boolean {
  const ready = (node.status?.conditions ?? []).some(
    (condition: any) => condition.type === "Ready" && condition.status === "True",
  );
  const taints: any[] = (node.spec?.taints ?? []).filter((taint: any) => taint.effect !== "PreferNoSchedule");
  return (
    ready &&
    node.spec?.unschedulable !== true &&
    taints.every((taint) => tolerations.some((toleration) => tolerates(toleration, taint)))
  );
}

function tolerates(toleration: Toleration, taint: { key: string; value?: string; effect: string }): boolean {
  if (toleration.effect !== undefined && toleration.effect !== taint.effect) return false;
  if (toleration.key !== undefined && toleration.key !== taint.key) return false;
  return toleration.operator === "Exists" || (toleration.value ?? "") === (taint.value ?? "");
}

function nodeInfo(node: KubeObject): NodeInfo {
  const internal: string[] = (node.status?.addresses ?? [])
    .filter((entry: any) => entry.type === "InternalIP")
    .map((entry: any) => entry.address);
  return { name: node.metadata.name!, labels: node.metadata.labels ?? {}, addresses: byFamily(internal) };
}

/** The first address of each family. */
export function byFamily(addresses: readonly string[]): Addresses {
  const result: Partial<Record<Family, string>> = {};
  for (const address of addresses) result[addressFamily(address)] ??= address;
  return result;
}
