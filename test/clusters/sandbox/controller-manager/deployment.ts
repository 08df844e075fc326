// SPDX-License-Identifier: Apache-2.0
import type { KubeClient } from "../../../../lib/kube.ts";
import { type Informer, objectKey } from "../../../../lib/kube-informer.ts";
import type { KubeObject } from "../../../../lib/kube-object.ts";
import { isEmptySelector } from "../../../../lib/label-selector.ts";
import type { Controller } from "./controllers.ts";
import {
  byCreation,
  newSetReplicas,
  oldSetReplicas,
  proportionalReplicas,
  wantedReplicas,
} from "./deployment-math.ts";
import { hashLabel, surplusSets } from "./deployment-sets.ts";
import { deploymentStatus, isComplete, progressing, untilDeadlineMs } from "./deployment-status.ts";
import { DeploymentWrites, type Rollout } from "./deployment-writes.ts";
import type { EventRecorder } from "./event-recorder.ts";
import { claimOwned, controllerOf } from "./ownership.ts";
import { findCondition, hasPodEnded } from "./pod-state.ts";
import { sameTemplate } from "./pod-template.ts";
import { pathOf, resources } from "./resources.ts";
import { withCondition, writeStatus } from "./status-write.ts";
import type { WorkQueue } from "./work-queue.ts";

/** Moves each Deployment's pods to its current template, by creating and scaling ReplicaSets. */
export class Deployments {
  readonly #client: KubeClient;
  readonly #events: EventRecorder;
  readonly #writes: DeploymentWrites;
  readonly #deployments: Informer;
  readonly #sets: Informer;
  readonly #pods: Informer;
  readonly #queue: WorkQueue;

  constructor(controller: Controller) {
    this.#client = controller.client;
    this.#events = controller.events;
    this.#writes = new DeploymentWrites(controller.client, controller.events);
    this.#deployments = controller.informer(resources.deployments);
    this.#sets = controller.informer(resources.replicaSets);
    this.#pods = controller.informer(resources.pods);
    this.#queue = controller.queue((key) => this.#reconcile(key));
    this.#deployments.onChange(({ object }) => this.#queue.add(objectKey(object)));
    this.#sets.onChange(({ object, previous }) => {
      this.#queueOwner(object);
      if (previous !== undefined) this.#queueOwner(previous);
    });
    // Only Recreate waits for pods to be gone.
    this.#pods.onChange(({ type, object }) => {
      const owner = controllerOf(object);
      if (type !== "deleted" || owner?.kind !== "ReplicaSet") return;
      const set = this.#sets.get(`${object.metadata.namespace}/${owner.name}`);
      if (set !== undefined) this.#queueOwner(set);
    });
  }

  #queueOwner(set: KubeObject): void {
    const owner = controllerOf(set);
    if (owner?.kind === "Deployment") this.#queue.add(`${set.metadata.namespace}/${owner.name}`);
    if (owner !== undefined) return;
    for (const deployment of this.#deployments.items.values())
      if (deployment.metadata.namespace === set.metadata.namespace) this.#queue.add(objectKey(deployment));
  }

  async #reconcile(key: string): Promise<number | undefined> {
    const deployment = this.#deployments.get(key);
    if (deployment === undefined) return undefined;
    if (isEmptySelector(deployment.spec.selector)) {
      const text = "This deployment is selecting all pods. A non-empty selector is required.";
      this.#events.warning(deployment, "SelectingAll", text);
      return undefined;
    }
    const owned = await claimOwned(
      {
        client: this.#client,
        owner: deployment,
        ownerResource: resources.deployments,
        resource: resources.replicaSets,
      },
      this.#sets.list(),
    );
    const rollout = this.#splitSets(deployment, owned);
    if (deployment.metadata.deletionTimestamp !== undefined) return await this.#finish(rollout);
    if (deployment.spec.paused) {
      await this.#scaleAsAsked(rollout);
      return await this.#finish(await this.#withPauseCondition(rollout));
    }
    const resumed = await this.#withPauseCondition(rollout);
    if (this.#isScaling(resumed)) await this.#scaleAsAsked(resumed);
    else if (deployment.spec.strategy?.type === "Recreate") await this.#recreate(resumed);
    else await this.#roll(resumed);
    return await this.#finish(resumed);
  }

  #splitSets(deployment: KubeObject, owned: KubeObject[]): Rollout {
    const newSet = [...owned]
      .sort(byCreation)
      .find((set) => sameTemplate(set.spec.template, deployment.spec.template, hashLabel));
    return { deployment, newSet, old: owned.filter((set) => set !== newSet) };
  }

  #allSets({ newSet, old }: Rollout): KubeObject[] {
    return newSet === undefined ? old : [...old, newSet];
  }

  async #withPauseCondition(rollout: Rollout): Promise<Rollout> {
    const { deployment } = rollout;
    const reason = findCondition(deployment, "Progressing")?.reason;
    const isPaused = deployment.spec.paused === true;
    if (deployment.spec.progressDeadlineSeconds === undefined || reason === "ProgressDeadlineExceeded")
      return rollout;
    if (isPaused === (reason === "DeploymentPaused")) return rollout;
    const condition = isPaused
      ? progressing("Unknown", "DeploymentPaused", "Deployment is paused")
      : progressing("Unknown", "DeploymentResumed", "Deployment is resumed");
    const conditions = withCondition(deployment.status?.conditions, condition);
    const status = { ...deployment.status, conditions };
    return {
      ...rollout,
      deployment: await writeStatus(this.#client, resources.deployments, deployment, status),
    };
  }

  #isScaling(rollout: Rollout): boolean {
    const wanted = String(wantedReplicas(rollout.deployment));
    return this.#allSets(rollout)
      .filter((set) => wantedReplicas(set) > 0)
      .some((set) => {
        const noted = set.metadata.annotations?.["deployment.kubernetes.io/desired-replicas"];
        return noted !== undefined && noted !== wanted;
      });
  }

  async #roll(rollout: Rollout): Promise<void> {
    const newSet = await this.#writes.ensureNewSet(rollout);
    const { deployment, old } = rollout;
    const wanted = wantedReplicas(deployment);
    const replicas =
      wantedReplicas(newSet) > wanted ? wanted : newSetReplicas(deployment, [...old, newSet], newSet);
    if (replicas !== wantedReplicas(newSet)) {
      rollout.newSet = await this.#writes.scaleSet(deployment, newSet, replicas);
      return;
    }
    const active = old.filter((set) => wantedReplicas(set) > 0);
    for (const [set, count] of oldSetReplicas(deployment, active, newSet))
      if (count !== wantedReplicas(set)) await this.#writes.scaleSet(deployment, set, count);
  }

  async #recreate(rollout: Rollout): Promise<void> {
    const { deployment, old } = rollout;
    const active = old.filter((set) => wantedReplicas(set) > 0);
    for (const set of active) await this.#writes.scaleSet(deployment, set, 0);
    const oldUids = new Set(old.map((set) => set.metadata.uid));
    const isOldRunning = this.#pods
      .list()
      .some((pod) => oldUids.has(controllerOf(pod)?.uid ?? "") && !hasPodEnded(pod));
    if (active.length > 0 || isOldRunning) return;
    const newSet = await this.#writes.ensureNewSet(rollout);
    rollout.newSet = await this.#writes.scaleSet(
      rollout.deployment,
      newSet,
      wantedReplicas(rollout.deployment),
    );
  }

  /** Applies a changed replica count, without moving the rollout on. */
  async #scaleAsAsked(rollout: Rollout): Promise<void> {
    const { deployment, newSet } = rollout;
    const active = this.#allSets(rollout).filter((set) => wantedReplicas(set) > 0);
    const only = active.length === 1 ? active[0] : active.length === 0 ? newSet : undefined;
    if (only !== undefined) {
      await this.#writes.scaleSet(deployment, only, wantedReplicas(deployment));
      return;
    }
    const wanted = wantedReplicas(deployment);
    const isSaturated =
      newSet !== undefined &&
      wantedReplicas(newSet) === wanted &&
      newSet.status?.availableReplicas === wanted;
    if (isSaturated) {
      for (const set of active) if (set !== newSet) await this.#writes.scaleSet(deployment, set, 0);
    } else if (deployment.spec.strategy?.type !== "Recreate")
      for (const [set, count] of proportionalReplicas(deployment, active))
        await this.#writes.scaleSet(deployment, set, count);
  }

  async #finish(rollout: Rollout): Promise<number | undefined> {
    const { deployment, newSet } = rollout;
    const conditions =
      rollout.begun === undefined
        ? deployment.status?.conditions
        : withCondition(deployment.status?.conditions, rollout.begun);
    const begun = { ...deployment, status: { ...deployment.status, conditions } };
    const status = deploymentStatus(begun, this.#allSets(rollout), newSet, Date.now());
    if (isComplete(deployment, status)) await this.#removeOldSets(rollout);
    const written = await writeStatus(this.#client, resources.deployments, deployment, status);
    const leftMs = untilDeadlineMs(written, Date.now());
    return leftMs === undefined ? undefined : Math.max(1_000, leftMs);
  }

  async #removeOldSets({ deployment, old }: Rollout): Promise<void> {
    for (const { metadata } of surplusSets(deployment, old))
      await this.#client.deleteIfExists(pathOf(resources.replicaSets, metadata.namespace, metadata.name));
  }
}
