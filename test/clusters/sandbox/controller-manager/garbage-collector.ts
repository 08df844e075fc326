// SPDX-License-Identifier: Apache-2.0
import { isNotFound } from "../../../../lib/kube-errors.ts";
import { Informer } from "../../../../lib/kube-informer.ts";
import type { KubeObject, OwnerReference } from "../../../../lib/kube-object.ts";
import type { Controller } from "./controllers.ts";
import { discoverResources, isCollectable, type ServedResource } from "./discovery.ts";
import {
  type GraphNode,
  hasFinalizer,
  isBeingDeleted,
  isWaitingForDependents,
  OwnerGraph,
  ownersOf,
} from "./owner-graph.ts";
import { pathOf, resources } from "./resources.ts";
import type { WorkQueue } from "./work-queue.ts";

const rediscoverMs = 10_000;
/** A resource that cannot be listed for so long no longer holds the others up. */
const patienceMs = 30_000;

interface Watched {
  informer: Informer;
  abort: AbortController;
  sinceMs: number;
}

/** Deletes objects whose owners are all gone, and carries out foreground and orphan deletion. */
export class GarbageCollector {
  readonly #controller: Controller;
  readonly #graph = new OwnerGraph();
  readonly #queue: WorkQueue;
  readonly #watched = new Map<string, Watched>();
  #served: ServedResource[] = [];

  constructor(controller: Controller) {
    this.#controller = controller;
    this.#queue = controller.queue((uid) => this.#reconcile(uid), 8);
    controller.every(rediscoverMs, () => this.#discover());
  }

  async #discover(): Promise<void> {
    const { shared, log } = this.#controller;
    const { served, complete } = await discoverResources(shared.reader, log);
    this.#served = served;
    const present = new Set<string>();
    for (const resource of served.filter(isCollectable)) {
      const key = `${resource.apiVersion}/${resource.plural}`;
      present.add(key);
      if (!this.#watched.has(key)) this.#watch(key, resource);
    }
    if (!complete) return;
    for (const [key, { abort }] of this.#watched)
      if (!present.has(key)) {
        abort.abort();
        this.#watched.delete(key);
        for (const [uid, node] of this.#graph.nodes)
          if (`${node.resource.apiVersion}/${node.resource.plural}` === key) this.#graph.remove(uid);
      }
  }

  #watch(key: string, resource: ServedResource): void {
    const { shared, log } = this.#controller;
    const abort = new AbortController();
    const isKnown = Object.values(resources).some(
      ({ apiVersion, plural }) => apiVersion === resource.apiVersion && plural === resource.plural,
    );
    let informer: Informer;
    if (isKnown) informer = shared.informer(pathOf(resource));
    else {
      informer = new Informer(shared.reader, pathOf(resource), log);
      void informer.run(AbortSignal.any([shared.signal, abort.signal]));
    }
    this.#watched.set(key, { informer, abort, sinceMs: Date.now() });
    informer.onChange(({ type, object }) => {
      if (abort.signal.aborted) return;
      if (type === "deleted") this.#gone(object);
      else this.#seen({ resource, object });
    });
  }

  #seen(node: GraphNode): void {
    this.#graph.put(node);
    const { object } = node;
    const isFinalizing =
      isBeingDeleted(object) &&
      (hasFinalizer(object, "foregroundDeletion") || hasFinalizer(object, "orphan"));
    if (ownersOf(object).length > 0 || isFinalizing) this.#queue.add(object.metadata.uid!);
  }

  #gone(object: KubeObject): void {
    const uid = object.metadata.uid!;
    this.#graph.remove(uid);
    for (const dependent of this.#graph.dependentUids(uid)) this.#queue.add(dependent);
    for (const owner of ownersOf(object)) if (this.#graph.nodes.has(owner.uid)) this.#queue.add(owner.uid);
  }

  get #isComplete(): boolean {
    const watched = [...this.#watched.values()];
    const isSettled = ({ informer, sinceMs }: Watched) =>
      informer.synced || Date.now() - sinceMs > patienceMs;
    return watched.length > 0 && watched.every(isSettled);
  }

  async #reconcile(uid: string): Promise<number | undefined> {
    const node = this.#graph.nodes.get(uid);
    if (node === undefined) return undefined;
    if (!this.#isComplete) return 500;
    const { object } = node;
    if (isBeingDeleted(object)) {
      if (hasFinalizer(object, "orphan")) await this.#orphan(node);
      else if (hasFinalizer(object, "foregroundDeletion")) await this.#finishForeground(node);
      return undefined;
    }
    return await this.#deleteIfUnowned(node);
  }

  async #orphan(node: GraphNode): Promise<void> {
    const { uid } = node.object.metadata;
    for (const dependent of this.#graph.dependents(uid!))
      await this.#dropReferences(dependent, (owner) => owner.uid === uid);
    await this.#dropFinalizer(node, "orphan");
  }

  async #finishForeground(node: GraphNode): Promise<void> {
    const { uid } = node.object.metadata;
    const dependents = this.#graph.dependents(uid!);
    const blocking = dependents.filter((dependent) =>
      ownersOf(dependent.object).some((owner) => owner.uid === uid && owner.blockOwnerDeletion === true),
    );
    for (const dependent of dependents) this.#queue.add(dependent.object.metadata.uid!);
    if (blocking.length === 0) await this.#dropFinalizer(node, "foregroundDeletion");
  }

  async #deleteIfUnowned(node: GraphNode): Promise<number | undefined> {
    const { object } = node;
    const owners = ownersOf(object);
    if (owners.length === 0) return undefined;
    const solid: OwnerReference[] = [];
    const waiting: OwnerReference[] = [];
    for (const reference of owners) {
      const owner =
        this.#graph.owner(object, reference)?.object ?? (await this.#liveOwner(object, reference));
      if (owner === "unknown") return 30_000;
      if (owner === undefined) continue;
      if (isWaitingForDependents(owner)) waiting.push(reference);
      else solid.push(reference);
    }
    if (solid.length > 0) {
      if (solid.length < owners.length)
        await this.#dropReferences(node, ({ uid }) => !solid.some((kept) => kept.uid === uid));
      return undefined;
    }
    const hasDependents = this.#graph.dependentUids(object.metadata.uid!).length > 0;
    const policy = hasFinalizer(object, "orphan")
      ? "Orphan"
      : hasFinalizer(object, "foregroundDeletion") || (waiting.length > 0 && hasDependents)
        ? "Foreground"
        : "Background";
    await this.#delete(node, policy);
    return undefined;
  }

  /** The owner as the server has it now: the cache may be behind. */
  async #liveOwner(
    dependent: KubeObject,
    reference: OwnerReference,
  ): Promise<KubeObject | "unknown" | undefined> {
    const group = reference.apiVersion.includes("/") ? reference.apiVersion.split("/")[0] : "";
    const resource = this.#served.find(
      ({ apiVersion, kind }) =>
        kind === reference.kind && (apiVersion.includes("/") ? apiVersion.split("/")[0] : "") === group,
    );
    if (resource === undefined) return "unknown";
    const namespace = resource.namespaced ? dependent.metadata.namespace : undefined;
    if (resource.namespaced && namespace === undefined) return "unknown";
    const owner = await this.#controller.client.find(pathOf(resource, namespace, reference.name));
    return owner?.metadata.uid === reference.uid ? owner : undefined;
  }

  async #delete({ resource, object }: GraphNode, propagationPolicy: string): Promise<void> {
    const { namespace, name, uid, resourceVersion } = object.metadata;
    try {
      await this.#controller.client.delete(pathOf(resource, namespace, name), {
        apiVersion: "v1",
        kind: "DeleteOptions",
        propagationPolicy,
        preconditions: { uid, resourceVersion },
      });
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }

  async #dropReferences(node: GraphNode, isDropped: (owner: OwnerReference) => boolean): Promise<void> {
    const ownerReferences = ownersOf(node.object).filter((owner) => !isDropped(owner));
    await this.#patchMetadata(node, { ownerReferences });
  }

  async #dropFinalizer(node: GraphNode, finalizer: string): Promise<void> {
    const finalizers = node.object.metadata.finalizers?.filter((name) => name !== finalizer) ?? [];
    await this.#patchMetadata(node, { finalizers });
  }

  async #patchMetadata({ resource, object }: GraphNode, change: object): Promise<void> {
    const { namespace, name, uid, resourceVersion } = object.metadata;
    try {
      await this.#controller.client.patch(pathOf(resource, namespace, name), "merge", {
        metadata: { uid, resourceVersion, ...change },
      });
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }
}
