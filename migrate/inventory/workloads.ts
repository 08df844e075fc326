// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../../lib/kube-object.ts";
import type { DrainConcern, DrainWorkload, ObjectRef } from "../model/inventory.ts";
import type { BudgetConcern } from "./details.ts";

/** The workload of a pod: its Deployment where the name of its ReplicaSet tells, else its controller, else itself. */
export function workloadOf({ metadata }: KubeObject): ObjectRef {
  const namespace = metadata.namespace ?? "";
  const owner = metadata.ownerReferences?.find((reference) => reference.controller === true);
  if (owner === undefined) return { kind: "Pod", namespace, name: metadata.name ?? "" };
  const hash = metadata.labels?.["pod-template-hash"];
  if (owner.kind === "ReplicaSet" && hash !== undefined && owner.name.endsWith(`-${hash}`))
    return { kind: "Deployment", namespace, name: owner.name.slice(0, -hash.length - 1) };
  return { kind: owner.kind, namespace, name: owner.name };
}

interface Entry {
  object: ObjectRef;
  /** Concern → what says more. */
  concerns: Map<DrainConcern, string>;
  pods: number;
  nodes: Set<string>;
  budgets: Set<string>;
}

/** What is to be said about one pod of a workload. */
export interface PodOfWorkload {
  /** Empty while it is on none. */
  node: string;
  concerns: ReadonlyMap<DrainConcern, string> | undefined;
  /** PodDisruptionBudgets that cover it. */
  budgets: readonly string[];
}

/** Kinds of which one pod is all that there should be, or whose end is their purpose. */
const singleByNature = new Set(["Pod", "Job", "Node", "DaemonSet", "CronJob"]);

/** Collects, workload by workload, what makes a drain slow, lossy or impossible. */
export class WorkloadTally {
  readonly #entries = new Map<string, Entry>();

  /** Counts a live pod of a workload that a drain would move, and what is to be said about it. */
  add(object: ObjectRef, { node, concerns, budgets }: PodOfWorkload): void {
    const key = `${object.kind} ${object.namespace}/${object.name}`;
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      entry = { object, concerns: new Map(), pods: 0, nodes: new Set(), budgets: new Set() };
      this.#entries.set(key, entry);
    }
    entry.pods += 1;
    if (node !== "") entry.nodes.add(node);
    for (const budget of budgets) entry.budgets.add(budget);
    if (concerns === undefined) return;
    for (const [concern, detail] of concerns)
      if (!entry.concerns.has(concern)) entry.concerns.set(concern, detail);
  }

  /**
   * The workloads about which there is something to say.
   * @param spent budgets that let no pod go
   */
  result(spent: ReadonlyMap<string, BudgetConcern>): DrainWorkload[] {
    const found: DrainWorkload[] = [];
    for (const { object, concerns, pods, nodes, budgets } of this.#entries.values()) {
      for (const budget of budgets) {
        const concern = spent.get(budget);
        if (concern !== undefined)
          concerns.set(
            concern.allows === "now" ? "budget-spent" : "budget-zero",
            `${budget}: ${concern.reason}`,
          );
      }
      if (pods === 1 && !singleByNature.has(object.kind)) concerns.set("single-replica", "");
      if (concerns.size === 0) continue;
      const details = [...concerns]
        .filter(([, detail]) => detail !== "")
        .map(([name, detail]) => `${name}: ${detail}`);
      found.push({ object, concerns: [...concerns.keys()].sort(), details, pods, nodes: [...nodes].sort() });
    }
    return found.sort((a, b) => workloadName(a.object).localeCompare(workloadName(b.object), "en"));
  }
}

/** `Kind namespace/name`, or `Kind name`. */
export function workloadName({ kind, namespace, name }: ObjectRef): string {
  return namespace === undefined ? `${kind} ${name}` : `${kind} ${namespace}/${name}`;
}
