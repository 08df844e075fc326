// SPDX-License-Identifier: Apache-2.0
import type { KubeClient } from "../../../../lib/kube.ts";
import { isAlreadyExists } from "../../../../lib/kube-errors.ts";
import { type Informer, objectKey } from "../../../../lib/kube-informer.ts";
import type { KubeObject } from "../../../../lib/kube-object.ts";
import { isEmptySelector } from "../../../../lib/label-selector.ts";
import type { Controller } from "./controllers.ts";
import {
  byCreation,
  newSetReplicas,
  oldSetReplicas,
  proportionalReplicas,
  rolloutBounds,
  wantedReplicas,
} from "./deployment-math.ts";
import { hashLabel, newReplicaSet, revisionOf, setAnnotations, surplusSets } from "./deployment-sets.ts";
import { deploymentStatus, isComplete, progressing, untilDeadlineMs } from "./deployment-status.ts";
import type { EventRecorder } from "./event-recorder.ts";
import { claimOwned, controllerOf } from "./ownership.ts";
import { type Condition, findCondition, hasPodEnded } from "./pod-state.ts";
import { sameTemplate } from "./pod-template.ts";
import { pathOf, resources } from "./resources.ts";
import { withCondition, writeStatus } from "./status-write.ts";
import type { WorkQueue } from "./work-queue.ts";

interface Rollout {
  deployment: KubeObject;
  newSet: KubeObject | undefined;
  old: KubeObject[];
  /** Set when this round found or made another new ReplicaSet than the last one. */
  begun?: Condition;
}

/** Moves each Deployment's pods to its current template, by creating and scaling ReplicaSets. */
export class Deployments {
  readonly #client: KubeClient;
  readonly #events: EventRecorder;
  readonly #deployments: Informer;
  readonly #sets: Informer;
  readonly #pods: Informer;
  readonly #queue: WorkQueue;

  constructor(controller: Controller) {
    this.#client = controller.client;
    this.#events = controller.events;
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

  /** Finds or creates the ReplicaSet of the current template and keeps revisions in order. */
  async #ensureNewSet(rollout: Rollout): Promise<KubeObject> {
    const { deployment, old } = rollout;
    const revision = Math.max(0, ...old.map(revisionOf)) + 1;
    const found = rollout.newSet !== undefined;
    let set: KubeObject;
    if (rollout.newSet === undefined) {
      const made = newReplicaSet(deployment, revision, newSetReplicas(deployment, old, undefined));
      set = await this.#createSet(rollout, made);
      if (wantedReplicas(set) > 0) this.#announceScale(deployment, set, 0, wantedReplicas(set));
    } else {
      set = rollout.newSet;
      const annotations = setAnnotations(deployment, set, Math.max(revision, revisionOf(set)));
      const minReadySeconds = deployment.spec.minReadySeconds;
      if (annotations !== undefined || set.spec.minReadySeconds !== minReadySeconds)
        set = await this.#client.replace(
          pathOf(resources.replicaSets, set.metadata.namespace, set.metadata.name),
          {
            ...set,
            metadata: { ...set.metadata, annotations: annotations ?? set.metadata.annotations },
            spec: { ...set.spec, minReadySeconds },
          },
        );
    }
    rollout.newSet = set;
    if (await this.#noteRevision(rollout, set))
      rollout.begun = found
        ? progressing("True", "FoundNewReplicaSet", `Found new replica set "${set.metadata.name}"`)
        : progressing("True", "NewReplicaSetCreated", `Created new replica set "${set.metadata.name}"`);
    return set;
  }

  async #createSet(rollout: Rollout, made: KubeObject): Promise<KubeObject> {
    const { deployment } = rollout;
    const { namespace, name } = made.metadata;
    try {
      return await this.#client.create(pathOf(resources.replicaSets, namespace), made);
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
      const present = await this.#client.get(pathOf(resources.replicaSets, namespace, name));
      if (
        controllerOf(present)?.uid === deployment.metadata.uid &&
        sameTemplate(present.spec.template, deployment.spec.template, hashLabel)
      )
        return present;
      // Another template hashes to the same name: the count makes the next hash differ.
      const collisionCount = (deployment.status?.collisionCount ?? 0) + 1;
      await writeStatus(this.#client, resources.deployments, deployment, {
        ...deployment.status,
        collisionCount,
      });
      throw error;
    }
  }

  async #noteRevision(rollout: Rollout, set: KubeObject): Promise<boolean> {
    const { deployment } = rollout;
    const revision = set.metadata.annotations?.["deployment.kubernetes.io/revision"];
    if (deployment.metadata.annotations?.["deployment.kubernetes.io/revision"] === revision) return false;
    rollout.deployment = await this.#client.replace(
      pathOf(resources.deployments, deployment.metadata.namespace, deployment.metadata.name),
      {
        ...deployment,
        metadata: {
          ...deployment.metadata,
          annotations: {
            ...deployment.metadata.annotations,
            "deployment.kubernetes.io/revision": revision,
          },
        },
      },
    );
    return true;
  }

  #announceScale(deployment: KubeObject, set: KubeObject, from: number, to: number): void {
    const verb = to > from ? "up" : "down";
    const text = `Scaled ${verb} replica set ${set.metadata.name} from ${from} to ${to}`;
    this.#events.normal(deployment, "ScalingReplicaSet", text);
  }

  async #scaleSet(deployment: KubeObject, set: KubeObject, replicas: number): Promise<KubeObject> {
    const { maxSurge } = rolloutBounds(deployment);
    const wanted = wantedReplicas(deployment);
    const bounds = {
      "deployment.kubernetes.io/desired-replicas": String(wanted),
      "deployment.kubernetes.io/max-replicas": String(wanted + maxSurge),
    };
    const before = wantedReplicas(set);
    const isNoted = Object.entries(bounds).every(([key, value]) => set.metadata.annotations?.[key] === value);
    if (before === replicas && isNoted) return set;
    const scaled = await this.#client.replace(
      pathOf(resources.replicaSets, set.metadata.namespace, set.metadata.name),
      {
        ...set,
        metadata: { ...set.metadata, annotations: { ...set.metadata.annotations, ...bounds } },
        spec: { ...set.spec, replicas },
      },
    );
    if (before !== replicas) this.#announceScale(deployment, set, before, replicas);
    return scaled;
  }

  async #roll(rollout: Rollout): Promise<void> {
    const newSet = await this.#ensureNewSet(rollout);
    const { deployment, old } = rollout;
    const wanted = wantedReplicas(deployment);
    const replicas =
      wantedReplicas(newSet) > wanted ? wanted : newSetReplicas(deployment, [...old, newSet], newSet);
    if (replicas !== wantedReplicas(newSet)) {
      rollout.newSet = await this.#scaleSet(deployment, newSet, replicas);
      return;
    }
    const active = old.filter((set) => wantedReplicas(set) > 0);
    for (const [set, count] of oldSetReplicas(deployment, active, newSet))
      if (count !== wantedReplicas(set)) await this.#scaleSet(deployment, set, count);
  }

  async #recreate(rollout: Rollout): Promise<void> {
    const { deployment, old } = rollout;
    const active = old.filter((set) => wantedReplicas(set) > 0);
    for (const set of active) await this.#scaleSet(deployment, set, 0);
    const oldUids = new Set(old.map((set) => set.metadata.uid));
    const isOldRunning = this.#pods
      .list()
      .some((pod) => oldUids.has(controllerOf(pod)?.uid ?? "") && !hasPodEnded(pod));
    if (active.length > 0 || isOldRunning) return;
    const newSet = await this.#ensureNewSet(rollout);
    rollout.newSet = await this.#scaleSet(rollout.deployment, newSet, wantedReplicas(rollout.deployment));
  }

  /** Applies a changed replica count, without moving the rollout on. */
  async #scaleAsAsked(rollout: Rollout): Promise<void> {
    const { deployment, newSet } = rollout;
    const active = this.#allSets(rollout).filter((set) => wantedReplicas(set) > 0);
    const only = active.length === 1 ? active[0] : active.length === 0 ? newSet : undefined;
    if (only !== undefined) {
      await this.#scaleSet(deployment, only, wantedReplicas(deployment));
      return;
    }
    const wanted = wantedReplicas(deployment);
    const isSaturated =
      newSet !== undefined &&
      wantedReplicas(newSet) === wanted &&
      newSet.status?.availableReplicas === wanted;
    if (isSaturated) {
      for (const set of active) if (set !== newSet) await this.#scaleSet(deployment, set, 0);
    } else if (deployment.spec.strategy?.type !== "Recreate")
      for (const [set, count] of proportionalReplicas(deployment, active))
        await this.#scaleSet(deployment, set, count);
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
