// SPDX-License-Identifier: Apache-2.0

import { type Informer, objectKey } from "../../../../lib/kube-informer.ts";
import type { KubeObject } from "../../../../lib/kube-object.ts";
import { matchesSelector } from "../../../../lib/label-selector.ts";
import type { Controller } from "./controllers.ts";
import { controllerOf } from "./ownership.ts";
import { hasPodEnded, isPodReady } from "./pod-state.ts";
import { portionOf } from "./pod-template.ts";
import { resources } from "./resources.ts";
import { withCondition, writeStatus } from "./status-write.ts";
import type { WorkQueue } from "./work-queue.ts";

/** How long an eviction may take to show as a deletion before it no longer counts. */
const evictionSeenMs = 2 * 60_000;

/** How many pods there should be and how many must be healthy. `scale` is what their controllers ask for. */
export function budgetNeeds(
  spec: any,
  podCount: number,
  scale: number,
): { expectedPods: number; desiredHealthy: number } {
  if (spec.maxUnavailable !== undefined && spec.maxUnavailable !== null)
    return {
      expectedPods: scale,
      desiredHealthy: Math.max(0, scale - portionOf(spec.maxUnavailable, scale, "up")),
    };
  if (typeof spec.minAvailable === "string")
    return { expectedPods: scale, desiredHealthy: portionOf(spec.minAvailable, scale, "up") };
  return { expectedPods: podCount, desiredHealthy: spec.minAvailable ?? 1 };
}

/** Keeps the counts in the status of PodDisruptionBudgets that evictions are judged by. */
export class DisruptionBudgets {
  readonly #controller: Controller;
  readonly #budgets: Informer;
  readonly #pods: Informer;
  readonly #owners: Map<string, Informer>;
  readonly #queue: WorkQueue;

  constructor(controller: Controller) {
    this.#controller = controller;
    this.#budgets = controller.informer(resources.podDisruptionBudgets);
    this.#pods = controller.informer(resources.pods);
    this.#owners = new Map(
      [resources.replicaSets, resources.statefulSets, resources.deployments].map((resource) => [
        resource.kind,
        controller.informer(resource),
      ]),
    );
    this.#queue = controller.queue((key) => this.#reconcile(key));
    this.#budgets.onChange(({ object }) => this.#queue.add(objectKey(object)));
    this.#pods.onChange(({ object, previous }) => {
      this.#queueSelecting(object);
      if (previous !== undefined) this.#queueSelecting(previous);
    });
    for (const informer of this.#owners.values())
      informer.onChange(({ object, previous }) => {
        if (object.spec.replicas === previous?.spec.replicas) return;
        for (const budget of this.#budgets.items.values())
          if (budget.metadata.namespace === object.metadata.namespace) this.#queue.add(objectKey(budget));
      });
  }

  #queueSelecting(pod: KubeObject): void {
    for (const budget of this.#budgets.items.values())
      if (
        budget.metadata.namespace === pod.metadata.namespace &&
        matchesSelector(budget.spec.selector, pod.metadata.labels ?? {})
      )
        this.#queue.add(objectKey(budget));
  }

  async #reconcile(key: string): Promise<number | undefined> {
    const budget = this.#budgets.get(key);
    if (budget === undefined || budget.metadata.deletionTimestamp !== undefined) return undefined;
    const pods = this.#pods
      .list()
      .filter(
        (pod) =>
          pod.metadata.namespace === budget.metadata.namespace &&
          matchesSelector(budget.spec.selector, pod.metadata.labels ?? {}) &&
          !hasPodEnded(pod),
      );
    const { disruptedPods, againMs } = this.#disrupted(budget, pods);
    const currentHealthy = pods.filter(
      (pod) =>
        isPodReady(pod) &&
        pod.metadata.deletionTimestamp === undefined &&
        disruptedPods[pod.metadata.name!] === undefined,
    ).length;
    const { expectedPods, desiredHealthy } = budgetNeeds(budget.spec, pods.length, this.#scale(pods));
    const allowed = expectedPods > 0 ? Math.max(0, currentHealthy - desiredHealthy) : 0;
    const status: any = {
      observedGeneration: budget.metadata.generation,
      disruptionsAllowed: allowed,
      currentHealthy,
      desiredHealthy,
      expectedPods,
      conditions: withCondition(budget.status?.conditions, {
        type: "DisruptionAllowed",
        status: allowed > 0 ? "True" : "False",
        reason: allowed > 0 ? "SufficientPods" : "InsufficientPods",
        message: "",
        observedGeneration: budget.metadata.generation,
      }),
    };
    if (Object.keys(disruptedPods).length > 0) status.disruptedPods = disruptedPods;
    await writeStatus(this.#controller.client, resources.podDisruptionBudgets, budget, status);
    return againMs;
  }

  /** Evictions that the API server allowed and that do not show as deletions yet. */
  #disrupted(budget: KubeObject, pods: KubeObject[]) {
    const noted: Record<string, string> = budget.status?.disruptedPods ?? {};
    const disruptedPods: Record<string, string> = {};
    let againMs: number | undefined;
    for (const pod of pods) {
      const at = noted[pod.metadata.name!];
      if (at === undefined || pod.metadata.deletionTimestamp !== undefined) continue;
      const leftMs = Date.parse(at) + evictionSeenMs - Date.now();
      if (leftMs <= 0) continue;
      disruptedPods[pod.metadata.name!] = at;
      againMs = Math.min(againMs ?? leftMs, leftMs);
    }
    return { disruptedPods, againMs };
  }

  /** How many pods the controllers of these pods ask for together. */
  #scale(pods: KubeObject[]): number {
    const byController = new Map<string, number>();
    for (const pod of pods) {
      const reference = controllerOf(pod);
      if (reference === undefined) continue;
      let owner = this.#owners.get(reference.kind)?.get(`${pod.metadata.namespace}/${reference.name}`);
      const above = owner === undefined ? undefined : controllerOf(owner);
      if (above?.kind === "Deployment")
        owner = this.#owners.get("Deployment")?.get(`${pod.metadata.namespace}/${above.name}`) ?? owner;
      if (owner !== undefined) byController.set(owner.metadata.uid!, owner.spec.replicas ?? 1);
    }
    if (byController.size === 0) return pods.length;
    return [...byController.values()].reduce((sum, replicas) => sum + replicas, 0);
  }
}
