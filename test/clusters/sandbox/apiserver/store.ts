// SPDX-License-Identifier: Apache-2.0
import type { KubeObject, ObjectReader } from "./resources/resource.ts";
import { expired } from "./status.ts";

/** One change, as the history of a collection keeps it. Objects are shared and never changed. */
export interface StoreEvent {
  revision: number;
  type: "ADDED" | "MODIFIED" | "DELETED";
  key: string;
  object: KubeObject;
  previous: KubeObject | undefined;
}

type Listener = (event: StoreEvent) => void;

/** Where every change is also written, so that a restart keeps it. */
export interface Journal {
  append(group: string, plural: string, event: StoreEvent): void;
}

// Enough for a client that lost its watch for minutes at 100 writes a second in one collection.
const MAX_HISTORY = 8_192;

class Collection {
  readonly objects = new Map<string, KubeObject>();
  readonly byNamespace = new Map<string, Map<string, KubeObject>>();
  readonly listeners = new Set<Listener>();
  history: StoreEvent[] = [];
  /** Watches can start from this revision or a later one. */
  oldestRevision: number;
  #sortedKeys: string[] | undefined;

  constructor(oldestRevision: number) {
    this.oldestRevision = oldestRevision;
  }

  sortedKeys(): string[] {
    this.#sortedKeys ??= [...this.objects.keys()].sort();
    return this.#sortedKeys;
  }

  put(key: string, object: KubeObject): void {
    if (!this.objects.has(key)) this.#sortedKeys = undefined;
    this.objects.set(key, object);
    const namespace = object.metadata.namespace ?? "";
    let inNamespace = this.byNamespace.get(namespace);
    if (inNamespace === undefined) {
      inNamespace = new Map();
      this.byNamespace.set(namespace, inNamespace);
    }
    inNamespace.set(key, object);
  }

  remove(key: string, object: KubeObject): void {
    this.objects.delete(key);
    this.#sortedKeys = undefined;
    const namespace = object.metadata.namespace ?? "";
    const inNamespace = this.byNamespace.get(namespace);
    inNamespace?.delete(key);
    if (inNamespace?.size === 0) this.byNamespace.delete(namespace);
  }

  record(event: StoreEvent): void {
    this.history.push(event);
    if (this.history.length > MAX_HISTORY * 1.25) {
      const dropped = this.history.length - MAX_HISTORY;
      this.oldestRevision = this.history[dropped - 1]!.revision;
      this.history = this.history.slice(dropped);
    }
    for (const listener of this.listeners) listener(event);
  }
}

/** The key of an object in its collection. */
function storeKey(namespace: string | undefined, name: string): string {
  return namespace === undefined || namespace === "" ? name : `${namespace}/${name}`;
}

/**
 * All objects, in memory, with one revision for the whole store and a history of each collection for watches
 * and consistent pages. Every method is synchronous, so a read followed by a write is a transaction.
 */
export class Store implements ObjectReader {
  revision = 1;
  journal: Journal | undefined;
  readonly #collections = new Map<string, Collection>();
  #firstRevision = 1;

  #collection(group: string, plural: string): Collection {
    const id = `${group}/${plural}`;
    let collection = this.#collections.get(id);
    if (collection === undefined) {
      collection = new Collection(this.#firstRevision);
      this.#collections.set(id, collection);
    }
    return collection;
  }

  get(group: string, plural: string, namespace: string | undefined, name: string): KubeObject | undefined {
    return this.#collection(group, plural).objects.get(storeKey(namespace, name));
  }

  list(group: string, plural: string, namespace?: string): KubeObject[] {
    const collection = this.#collection(group, plural);
    if (namespace === undefined || namespace === "") return [...collection.objects.values()];
    return [...(collection.byNamespace.get(namespace)?.values() ?? [])];
  }

  /** In key order, at the present or (from the history) at an earlier revision. Throws a 410. */
  listSorted(
    group: string,
    plural: string,
    namespace: string | undefined,
    revision?: number,
  ): [string, KubeObject][] {
    const collection = this.#collection(group, plural);
    const prefix = namespace === undefined || namespace === "" ? "" : `${namespace}/`;
    const historic = revision !== undefined && revision < this.revision;
    const view = historic ? this.#rewind(collection, revision) : undefined;
    const objects = view ?? collection.objects;
    const keys = view === undefined ? collection.sortedKeys() : [...view.keys()].sort();
    const start = prefix === "" ? 0 : lowerBound(keys, prefix);
    const found: [string, KubeObject][] = [];
    for (let index = start; index < keys.length; index++) {
      const key = keys[index]!;
      if (!key.startsWith(prefix)) break;
      found.push([key, objects.get(key)!]);
    }
    return found;
  }

  #rewind(collection: Collection, revision: number): Map<string, KubeObject> {
    if (revision < collection.oldestRevision)
      throw expired("The provided continue parameter is too old to display a consistent list result.");
    const view = new Map(collection.objects);
    for (let index = collection.history.length - 1; index >= 0; index--) {
      const event = collection.history[index]!;
      if (event.revision <= revision) break;
      if (event.previous === undefined) view.delete(event.key);
      else view.set(event.key, event.previous);
    }
    return view;
  }

  /** Stores an object under the next revision and tells the watchers; returns it as stored. */
  put(group: string, plural: string, object: KubeObject): KubeObject {
    const collection = this.#collection(group, plural);
    const key = storeKey(object.metadata.namespace, object.metadata.name);
    const previous = collection.objects.get(key);
    const revision = ++this.revision;
    const stored = { ...object, metadata: { ...object.metadata, resourceVersion: String(revision) } };
    collection.put(key, stored);
    const type = previous === undefined ? "ADDED" : "MODIFIED";
    this.#emit(group, plural, collection, { revision, type, key, object: stored, previous });
    return stored;
  }

  /** Removes an object; the last form of it carries the revision of its removal. */
  remove(group: string, plural: string, object: KubeObject): KubeObject {
    const collection = this.#collection(group, plural);
    const key = storeKey(object.metadata.namespace, object.metadata.name);
    const previous = collection.objects.get(key);
    const revision = ++this.revision;
    const last = { ...object, metadata: { ...object.metadata, resourceVersion: String(revision) } };
    collection.remove(key, object);
    this.#emit(group, plural, collection, { revision, type: "DELETED", key, object: last, previous });
    return last;
  }

  #emit(group: string, plural: string, collection: Collection, event: StoreEvent): void {
    this.journal?.append(group, plural, event);
    collection.record(event);
  }

  /** Calls `listener` for every change after `revision`, the past ones first. Throws a 410; returns how to stop. */
  watch(group: string, plural: string, revision: number, listener: Listener): () => void {
    const collection = this.#collection(group, plural);
    if (revision < collection.oldestRevision)
      throw expired(`too old resource version: ${revision} (${collection.oldestRevision})`);
    for (const event of collection.history) if (event.revision > revision) listener(event);
    collection.listeners.add(listener);
    return () => collection.listeners.delete(listener);
  }

  /** Everything, for a snapshot. */
  *entries(): Generator<{ group: string; plural: string; object: KubeObject }> {
    for (const [id, collection] of this.#collections) {
      const slash = id.indexOf("/");
      for (const object of collection.objects.values())
        yield { group: id.slice(0, slash), plural: id.slice(slash + 1), object };
    }
  }

  /** Puts an object back as it was, before the server starts. */
  restore(group: string, plural: string, object: KubeObject, deleted: boolean): void {
    const collection = this.#collection(group, plural);
    const key = storeKey(object.metadata.namespace, object.metadata.name);
    if (deleted) collection.remove(key, object);
    else collection.put(key, object);
    this.revision = Math.max(this.revision, Number(object.metadata.resourceVersion));
  }

  /** Ends restoring: what happened before is not known to watches. */
  restored(): void {
    this.#firstRevision = this.revision;
    for (const collection of this.#collections.values()) collection.oldestRevision = this.revision;
  }
}

function lowerBound(keys: readonly string[], bound: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (keys[middle]! < bound) low = middle + 1;
    else high = middle;
  }
  return low;
}
