// SPDX-License-Identifier: Apache-2.0

import { type Informer, objectKey } from "../../../../lib/kube-informer.ts";
import type { KubeObject } from "../../../../lib/kube-object.ts";
import { currentRevision, ownRevisions, trimRevisions } from "./controller-revisions.ts";
import type { Controller } from "./controllers.ts";
import { Expectations } from "./expectations.ts";
import { followOwnedPods } from "./owned-pods.ts";
import { claimOwned } from "./ownership.ts";
import { hasPodEnded, isPodAvailable, isPodReady, untilAvailableMs } from "./pod-state.ts";
import { PodWrites } from "./pod-writes.ts";
import { resources } from "./resources.ts";
import { ordinalOf, podRevision, statefulPod, wantedOrdinals } from "./stateful-set-pods.ts";
import { writeStatus } from "./status-write.ts";

interface Revisions {
  current: KubeObject;
  update: KubeObject;
}

/** Keeps each StatefulSet's numbered pods: made in order, updated and removed from the last. */
export class StatefulSets {
  readonly #controller: Controller;
  readonly #sets: Informer;
  readonly #pods: Informer;
  readonly #revisions: Informer;
  readonly #expectations = new Expectations();
  readonly #writes: PodWrites;

  constructor(controller: Controller) {
    this.#controller = controller;
    this.#sets = controller.informer(resources.statefulSets);
    this.#pods = controller.informer(resources.pods);
    this.#revisions = controller.informer(resources.controllerRevisions);
    this.#writes = new PodWrites(controller, this.#expectations);
    const queue = controller.queue((key) => this.#reconcile(key));
    this.#sets.onChange(({ object }) => queue.add(objectKey(object)));
    followOwnedPods(this.#pods, this.#sets, "StatefulSet", queue, this.#expectations);
  }

  async #reconcile(key: string): Promise<number | undefined> {
    const set = this.#sets.get(key);
    if (set === undefined) {
      this.#expectations.forget(key);
      return undefined;
    }
    if (set.metadata.deletionTimestamp !== undefined) return undefined;
    const { client } = this.#controller;
    const owned = await claimOwned(
      {
        client,
        owner: set,
        ownerResource: resources.statefulSets,
        resource: resources.pods,
        adoptable: (pod) => ordinalOf(set, pod) >= 0,
      },
      this.#pods.list(),
    );
    const mine = this.#revisions
      .list()
      .filter((entry) => entry.metadata.namespace === set.metadata.namespace);
    const known = await ownRevisions(client, set, resources.statefulSets, mine);
    const update = await currentRevision(client, set, resources.statefulSets, known);
    const current = known.find((entry) => entry.metadata.name === set.status?.currentRevision) ?? update;
    const revisions = { current, update };
    const satisfied = this.#expectations.satisfied(key);
    if (satisfied) {
      this.#noteClaims(set);
      await this.#act(key, set, owned, revisions);
    }
    await writeStatus(client, resources.statefulSets, set, statefulStatus(set, owned, revisions, Date.now()));
    const live = new Set([current.metadata.name, update.metadata.name, ...owned.map(podRevision)]);
    await trimRevisions(
      client,
      known,
      (entry) => live.has(entry.metadata.name),
      set.spec.revisionHistoryLimit ?? 10,
    );
    return untilAvailableMs(owned, set.spec.minReadySeconds ?? 0, Date.now());
  }

  #noteClaims(set: KubeObject): void {
    if ((set.spec.volumeClaimTemplates ?? []).length > 0 && set.status?.observedGeneration === undefined)
      this.#controller.events.warning(
        set,
        "VolumeClaimTemplatesIgnored",
        "This controller manager provides no storage; each claim template becomes an emptyDir volume",
      );
  }

  async #act(key: string, set: KubeObject, owned: KubeObject[], revisions: Revisions): Promise<void> {
    const isOrdered = set.spec.podManagementPolicy !== "Parallel";
    const byOrdinal = new Map(owned.map((pod) => [ordinalOf(set, pod), pod]));
    const wanted = wantedOrdinals(set);
    if (!(await this.#fill(key, set, wanted, byOrdinal, revisions, isOrdered))) return;
    const condemned = owned
      .filter((pod) => !wanted.includes(ordinalOf(set, pod)))
      .sort((a, b) => ordinalOf(set, b) - ordinalOf(set, a));
    if (!(await this.#shrink(key, set, condemned, isOrdered))) return;
    if (set.spec.updateStrategy?.type !== "OnDelete")
      await this.#update(key, set, wanted, byOrdinal, revisions);
  }

  /** Makes missing pods; false while an ordered set waits for one. */
  async #fill(
    key: string,
    set: KubeObject,
    wanted: number[],
    byOrdinal: Map<number, KubeObject>,
    revisions: Revisions,
    isOrdered: boolean,
  ): Promise<boolean> {
    const partition = set.spec.updateStrategy?.rollingUpdate?.partition ?? 0;
    let isFull = true;
    for (const ordinal of wanted) {
      const pod = byOrdinal.get(ordinal);
      if (pod === undefined) {
        const start = set.spec.ordinals?.start ?? 0;
        const revision = ordinal < start + partition ? revisions.current : revisions.update;
        await this.#writes.create(set, key, statefulPod(set, ordinal, revision));
        isFull = false;
      } else if (hasPodEnded(pod) && pod.metadata.deletionTimestamp === undefined) {
        await this.#writes.delete(set, key, pod);
        isFull = false;
      }
      const isSteady = pod !== undefined && this.#isHealthy(set, pod);
      if (isOrdered && !isSteady) return pod !== undefined && this.#mayReplaceBroken(set, pod, revisions);
    }
    return isFull;
  }

  #isHealthy(set: KubeObject, pod: KubeObject): boolean {
    return (
      pod.metadata.deletionTimestamp === undefined &&
      isPodAvailable(pod, set.spec.minReadySeconds ?? 0, Date.now())
    );
  }

  /** A pod of an old revision that does not become ready must not keep the new one from coming. */
  #mayReplaceBroken(set: KubeObject, pod: KubeObject, { update }: Revisions): boolean {
    return (
      pod.metadata.deletionTimestamp === undefined &&
      !hasPodEnded(pod) &&
      podRevision(pod) !== update.metadata.name &&
      (set.status?.currentRevision ?? update.metadata.name) !== update.metadata.name
    );
  }

  async #shrink(key: string, set: KubeObject, condemned: KubeObject[], isOrdered: boolean): Promise<boolean> {
    for (const pod of condemned) {
      if (pod.metadata.deletionTimestamp === undefined) await this.#writes.delete(set, key, pod);
      if (isOrdered) return false;
    }
    return condemned.length === 0;
  }

  async #update(
    key: string,
    set: KubeObject,
    wanted: number[],
    byOrdinal: Map<number, KubeObject>,
    { update }: Revisions,
  ): Promise<void> {
    const start = set.spec.ordinals?.start ?? 0;
    const partition = start + (set.spec.updateStrategy?.rollingUpdate?.partition ?? 0);
    for (const ordinal of wanted.toReversed()) {
      const pod = byOrdinal.get(ordinal);
      if (ordinal < partition || pod === undefined) return;
      if (podRevision(pod) !== update.metadata.name && pod.metadata.deletionTimestamp === undefined) {
        await this.#writes.delete(set, key, pod);
        return;
      }
      if (!this.#isHealthy(set, pod)) return;
    }
  }
}

/** The status of a StatefulSet with these pods. */
function statefulStatus(
  set: KubeObject,
  owned: KubeObject[],
  { current, update }: Revisions,
  nowMs: number,
): any {
  const alive = owned.filter((pod) => ordinalOf(set, pod) >= 0 && !hasPodEnded(pod));
  const of = (revision: KubeObject) =>
    alive.filter(
      (pod) => podRevision(pod) === revision.metadata.name && pod.metadata.deletionTimestamp === undefined,
    ).length;
  const status: any = {
    ...set.status,
    observedGeneration: set.metadata.generation,
    replicas: alive.length,
    readyReplicas: alive.filter(isPodReady).length,
    availableReplicas: alive.filter((pod) => isPodAvailable(pod, set.spec.minReadySeconds ?? 0, nowMs))
      .length,
    currentReplicas: of(current),
    updatedReplicas: of(update),
    currentRevision: current.metadata.name,
    updateRevision: update.metadata.name,
    collisionCount: set.status?.collisionCount ?? 0,
  };
  const isDone =
    status.updatedReplicas === (set.spec.replicas ?? 1) &&
    status.replicas === status.updatedReplicas &&
    status.readyReplicas === status.updatedReplicas;
  if (isDone && set.spec.updateStrategy?.type !== "OnDelete") {
    status.currentRevision = status.updateRevision;
    status.currentReplicas = status.updatedReplicas;
  }
  for (const field of ["readyReplicas", "currentReplicas", "updatedReplicas"])
    if (status[field] === 0) delete status[field];
  return status;
}
