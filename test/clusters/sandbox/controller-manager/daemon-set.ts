// SPDX-License-Identifier: Apache-2.0

import { type Informer, objectKey } from "../../../../lib/kube-informer.ts";
import type { KubeObject } from "../../../../lib/kube-object.ts";
import {
  currentRevision,
  ownRevisions,
  revisionHash,
  revisionHashLabel,
  trimRevisions,
} from "./controller-revisions.ts";
import type { Controller } from "./controllers.ts";
import { daemonAffinity, daemonFit, daemonNodeName, daemonTolerations } from "./daemon-set-nodes.ts";
import { daemonStatus, type NodePods, rollDaemons } from "./daemon-set-rollout.ts";
import { byCreation } from "./deployment-math.ts";
import { Expectations } from "./expectations.ts";
import { followOwnedPods } from "./owned-pods.ts";
import { claimOwned, controllerReference } from "./ownership.ts";
import { hasPodEnded, isPodActive, isPodAvailable, isPodReady, untilAvailableMs } from "./pod-state.ts";
import { canonicalJson, podFromTemplate } from "./pod-template.ts";
import { PodWrites } from "./pod-writes.ts";
import { resources } from "./resources.ts";
import { writeStatus } from "./status-write.ts";
import type { WorkQueue } from "./work-queue.ts";

/** Keeps one pod of each DaemonSet on every node that it fits. */
export class DaemonSets {
  readonly #controller: Controller;
  readonly #sets: Informer;
  readonly #nodes: Informer;
  readonly #pods: Informer;
  readonly #revisions: Informer;
  readonly #expectations = new Expectations();
  readonly #writes: PodWrites;
  readonly #queue: WorkQueue;
  /** When a failed pod may be replaced again, by `set/node`: a pod that always fails must not spin. */
  readonly #failedUntil = new Map<string, { atMs: number; delayMs: number }>();

  constructor(controller: Controller) {
    this.#controller = controller;
    this.#sets = controller.informer(resources.daemonSets);
    this.#nodes = controller.informer(resources.nodes);
    this.#pods = controller.informer(resources.pods);
    this.#revisions = controller.informer(resources.controllerRevisions);
    this.#writes = new PodWrites(controller, this.#expectations);
    this.#queue = controller.queue((key) => this.#reconcile(key));
    this.#sets.onChange(({ object }) => this.#queue.add(objectKey(object)));
    followOwnedPods(this.#pods, this.#sets, "DaemonSet", this.#queue, this.#expectations);
    this.#nodes.onChange(({ type, object, previous }) => {
      if (type === "modified" && isSamePlace(object, previous!)) return;
      for (const key of this.#sets.items.keys()) this.#queue.add(key);
    });
  }

  async #reconcile(key: string): Promise<number | undefined> {
    const set = this.#sets.get(key);
    if (set === undefined) {
      this.#expectations.forget(key);
      return undefined;
    }
    if (set.metadata.deletionTimestamp !== undefined) return undefined;
    const { client } = this.#controller;
    const owner = { client, owner: set, ownerResource: resources.daemonSets };
    const mine = this.#revisions
      .list()
      .filter((revision) => revision.metadata.namespace === set.metadata.namespace);
    const known = await ownRevisions(client, set, resources.daemonSets, mine);
    const revision = await currentRevision(client, set, resources.daemonSets, known);
    const hash = revisionHash(revision);
    const owned = await claimOwned(
      { ...owner, resource: resources.pods, adoptable: isPodActive },
      this.#pods.list(),
    );
    const placed = this.#place(set, owned);
    if (this.#expectations.satisfied(key)) await this.#act(key, set, hash, placed, owned);
    const status = daemonStatus(set, hash, placed, Date.now());
    await writeStatus(client, resources.daemonSets, set, JSON.parse(JSON.stringify(status)));
    const liveHashes = new Set(owned.map((pod) => pod.metadata.labels?.[revisionHashLabel]));
    await trimRevisions(
      client,
      known.filter((entry) => entry.metadata.uid !== revision.metadata.uid),
      (entry) => liveHashes.has(revisionHash(entry)),
      set.spec.revisionHistoryLimit ?? 10,
    );
    return untilAvailableMs(owned, set.spec.minReadySeconds ?? 0, Date.now());
  }

  #place(set: KubeObject, owned: KubeObject[]): NodePods[] {
    const byNode = Map.groupBy(owned, daemonNodeName);
    return this.#nodes.list().map((node) => ({
      node,
      ...daemonFit(set, node),
      pods: (byNode.get(node.metadata.name) ?? []).sort(byCreation),
    }));
  }

  async #act(
    key: string,
    set: KubeObject,
    hash: string,
    placed: NodePods[],
    owned: KubeObject[],
  ): Promise<void> {
    const create: KubeObject[] = [];
    const remove = new Set<KubeObject>();
    for (const place of placed) this.#actOnNode(key, set, hash, place, create, remove);
    const nodeNames = new Set(placed.map(({ node }) => node.metadata.name));
    // Bound pods of gone nodes are the pod garbage collector's; unbound ones would wait for ever.
    for (const pod of owned)
      if (!pod.spec.nodeName && !nodeNames.has(daemonNodeName(pod)) && isPodActive(pod)) remove.add(pod);
    if (create.length === 0 && remove.size === 0 && set.spec.updateStrategy?.type !== "OnDelete") {
      const step = rollDaemons(set, hash, placed, Date.now());
      create.push(...step.surgeOn);
      for (const pod of step.remove) remove.add(pod);
    }
    await this.#writes.deleteAll(set, key, [...remove]);
    const pods = create.map((node) => this.#makePod(set, hash, node.metadata.name!));
    await this.#writes.createAll(set, key, pods);
  }

  #actOnNode(
    key: string,
    set: KubeObject,
    hash: string,
    place: NodePods,
    create: KubeObject[],
    remove: Set<KubeObject>,
  ): void {
    const { node, shouldRun, mayStay, pods } = place;
    if (!mayStay) {
      for (const pod of pods) if (isPodActive(pod)) remove.add(pod);
      return;
    }
    const ended = pods.filter((pod) => hasPodEnded(pod) && pod.metadata.deletionTimestamp === undefined);
    const running = pods.filter((pod) => !hasPodEnded(pod) || pod.metadata.deletionTimestamp !== undefined);
    for (const pod of ended) if (this.#mayReplace(key, set, node, pod)) remove.add(pod);
    if (shouldRun && pods.length === 0) create.push(node);
    const isNew = (pod: KubeObject) => pod.metadata.labels?.[revisionHashLabel] === hash;
    const alive = running.filter(isPodActive);
    // Two at once are right only while a surge replaces the old one by a new one.
    const surging = (set.spec.updateStrategy?.rollingUpdate?.maxSurge ?? 0) !== 0;
    if (surging && alive.some(isNew) && alive.some((pod) => !isNew(pod))) {
      for (const group of [alive.filter(isNew), alive.filter((pod) => !isNew(pod))])
        for (const pod of group.slice(1)) remove.add(pod);
      return;
    }
    const keep =
      alive.find((pod) => isPodAvailable(pod, 0, Date.now())) ?? alive.find(isPodReady) ?? alive[0];
    for (const pod of alive) if (pod !== keep) remove.add(pod);
  }

  #mayReplace(key: string, set: KubeObject, node: KubeObject, pod: KubeObject): boolean {
    const place = `${key}/${node.metadata.name}`;
    const before = this.#failedUntil.get(place);
    const now = Date.now();
    if (before !== undefined && now < before.atMs) {
      this.#queue.addAfter(key, before.atMs - now);
      return false;
    }
    const isRecent = before !== undefined && now - before.atMs < 10 * 60_000;
    const delayMs = isRecent ? Math.min(before.delayMs * 2, 15 * 60_000) : 1_000;
    this.#failedUntil.set(place, { atMs: now + delayMs, delayMs });
    const text = `Found failed daemon pod ${objectKey(pod)} on node ${node.metadata.name}, will try to kill it`;
    if (pod.status?.phase === "Failed") this.#controller.events.warning(set, "FailedDaemonPod", text);
    return true;
  }

  #makePod(set: KubeObject, hash: string, nodeName: string): KubeObject {
    const generation = set.metadata.annotations?.["deprecated.daemonset.template.generation"];
    const pod = podFromTemplate(set.spec.template, {
      generateName: `${set.metadata.name}-`,
      labels: {
        [revisionHashLabel]: hash,
        ...(generation === undefined ? {} : { "pod-template-generation": generation }),
      },
      ownerReferences: [controllerReference(set, resources.daemonSets)],
    });
    pod.spec.affinity = daemonAffinity(pod.spec, nodeName);
    pod.spec.tolerations = daemonTolerations(pod.spec);
    return pod;
  }
}

/** Whether nothing changed on a node that decides where daemons run. */
function isSamePlace(node: KubeObject, previous: KubeObject): boolean {
  return (
    canonicalJson([node.metadata.labels, node.spec?.taints ?? []]) ===
    canonicalJson([previous.metadata.labels, previous.spec?.taints ?? []])
  );
}
