// SPDX-License-Identifier: Apache-2.0
import type { KubeObject, OwnerReference } from "../../../../lib/kube-object.ts";
import type { ServedResource } from "./discovery.ts";

/** One object as the garbage collector sees it. */
export interface GraphNode {
  resource: ServedResource;
  object: KubeObject;
}

/** All objects by uid, with who names whom as owner. */
export class OwnerGraph {
  readonly nodes = new Map<string, GraphNode>();
  readonly #dependents = new Map<string, Set<string>>();

  put(node: GraphNode): void {
    const uid = node.object.metadata.uid!;
    this.#unlink(uid);
    this.nodes.set(uid, node);
    for (const owner of ownersOf(node.object)) {
      const uids = this.#dependents.get(owner.uid) ?? new Set();
      this.#dependents.set(owner.uid, uids.add(uid));
    }
  }

  remove(uid: string): void {
    this.#unlink(uid);
    this.nodes.delete(uid);
  }

  #unlink(uid: string): void {
    const former = this.nodes.get(uid);
    if (former === undefined) return;
    for (const owner of ownersOf(former.object)) {
      const uids = this.#dependents.get(owner.uid);
      uids?.delete(uid);
      if (uids?.size === 0) this.#dependents.delete(owner.uid);
    }
  }

  dependentUids(uid: string): string[] {
    return [...(this.#dependents.get(uid) ?? [])];
  }

  dependents(uid: string): GraphNode[] {
    return this.dependentUids(uid).map((dependent) => this.nodes.get(dependent)!);
  }

  /** The owner that a reference means, if it is known and may own the dependent. */
  owner(dependent: KubeObject, reference: OwnerReference): GraphNode | undefined {
    const node = this.nodes.get(reference.uid);
    if (node === undefined) return undefined;
    const { namespace } = node.object.metadata;
    return namespace === undefined || namespace === dependent.metadata.namespace ? node : undefined;
  }
}

export function ownersOf(object: KubeObject): OwnerReference[] {
  return object.metadata.ownerReferences ?? [];
}

export const isBeingDeleted = (object: KubeObject): boolean =>
  object.metadata.deletionTimestamp !== undefined;
export const hasFinalizer = (object: KubeObject, name: string): boolean =>
  object.metadata.finalizers?.includes(name) ?? false;

/** Whether an owner goes only after its blocking dependents have. */
export const isWaitingForDependents = (object: KubeObject): boolean =>
  isBeingDeleted(object) && hasFinalizer(object, "foregroundDeletion");
