// SPDX-License-Identifier: Apache-2.0
import { type Change, forgetManagers, objectKey } from "../../lib/kube-informer.ts";
import type { KubeObject } from "../../lib/kube-object.ts";

/** An informer's cache that a bench fills in the place of an API server. */
export class FedInformer {
  readonly items = new Map<string, KubeObject>();
  /** False while a list is being read. */
  synced = true;
  readonly #prepare: (object: KubeObject) => void;
  readonly #listeners: ((change: Change) => void)[] = [];

  /** `prepare` as that of the agent's informer. */
  constructor(prepare: (object: KubeObject) => void = forgetManagers) {
    this.#prepare = prepare;
  }

  onChange(listener: (change: Change) => void): void {
    this.#listeners.push(listener);
    for (const object of this.items.values()) listener({ type: "added", object, previous: undefined });
  }

  get(key: string): KubeObject | undefined {
    return this.items.get(key);
  }

  list(): KubeObject[] {
    return [...this.items.values()];
  }

  put(object: KubeObject): void {
    this.#prepare(object);
    const key = objectKey(object);
    const previous = this.items.get(key);
    this.items.set(key, object);
    this.#tell({ type: previous === undefined ? "added" : "modified", object, previous });
  }

  take(key: string): void {
    const object = this.items.get(key);
    if (object === undefined) return;
    this.items.delete(key);
    this.#tell({ type: "deleted", object, previous: object });
  }

  #tell(change: Change): void {
    for (const listener of this.#listeners) listener(change);
  }
}
