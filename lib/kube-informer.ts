// SPDX-License-Identifier: Apache-2.0
import { errorMessage } from "./errors.ts";
import type { KubeClient, Query } from "./kube.ts";
import { ApiError, isNotFound } from "./kube-errors.ts";
import type { KubeObject } from "./kube-object.ts";
import type { Logger } from "./log.ts";
import { sleep } from "./wait.ts";

/** What changed in the cache. `previous` is the object as cached before, if any. */
export interface Change<T = KubeObject> {
  type: "added" | "modified" | "deleted";
  object: T;
  previous: T | undefined;
}

/** Key of an object in a cache: `namespace/name`, or `name` when it has no namespace. */
export function objectKey(object: KubeObject): string {
  const { namespace, name } = object.metadata;
  return namespace === undefined ? (name ?? "") : `${namespace}/${name}`;
}

/** Who manages which field: often half of an object. For informers whose objects are only read. */
export function forgetManagers(object: KubeObject): void {
  // Not deleted: that would make a hash table of the metadata, of ten times its size.
  object.metadata.managedFields = undefined;
}

/** So often a kind must be missing to be taken for absent: a server that starts may not have read its kinds yet. */
const absentAfter = 5;

/**
 * A cache of one resource, kept in step by list and watch. After a lost watch it lists anew and reports the
 * difference, so that nothing is missed, whatever the server did in between.
 */
export class Informer<T extends KubeObject = KubeObject> {
  readonly items = new Map<string, T>();
  readonly #client: KubeClient;
  readonly #path: string;
  readonly #query: Query;
  readonly #prepare: (object: T) => void;
  readonly #log: Logger;
  readonly #mayBeAbsent: boolean;
  #misses = 0;
  readonly #listeners: ((change: Change<T>) => void)[] = [];
  #synced = false;
  #onSynced: (() => void)[] = [];
  #resourceVersion: string | undefined;

  /**
   * `prepare` may take out of each object, before it is kept, what nobody will ask for. `mayBeAbsent`: a server that does not
   * have the kind has no objects of it; it is asked again.
   */
  constructor(
    client: KubeClient,
    path: string,
    log: Logger,
    query: Query = {},
    prepare: (object: T) => void = () => undefined,
    { mayBeAbsent = false } = {},
  ) {
    this.#mayBeAbsent = mayBeAbsent;
    this.#prepare = prepare;
    this.#client = client;
    this.#path = path;
    this.#log = log.with({ watch: path });
    this.#query = query;
  }

  get synced(): boolean {
    return this.#synced;
  }

  /** Calls `listener` for every change from now on, and for what is cached already. */
  onChange(listener: (change: Change<T>) => void): void {
    this.#listeners.push(listener);
    for (const object of this.items.values()) listener({ type: "added", object, previous: undefined });
  }

  get(key: string): T | undefined {
    return this.items.get(key);
  }

  list(): T[] {
    return [...this.items.values()];
  }

  /** Resolves once the first list has been read. */
  async whenSynced(signal?: AbortSignal): Promise<void> {
    if (this.#synced) return;
    await new Promise<void>((resolve, reject) => {
      this.#onSynced.push(resolve);
      signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
    });
  }

  /** Runs until the signal aborts. Errors are logged and retried with back-off, at most 10 s. */
  async run(signal: AbortSignal): Promise<void> {
    let backoffMs = 100;
    while (!signal.aborted) {
      try {
        if (this.#resourceVersion === undefined) await this.#relist();
        await this.#follow(signal, () => {
          backoffMs = 100;
        });
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof ApiError && (error.status === 410 || error.reason === "Expired")) {
          this.#resourceVersion = undefined;
          continue;
        }
        if (this.#mayBeAbsent && isNotFound(error)) this.#miss();
        else this.#log.warn("watch interrupted", { error: errorMessage(error), retryMs: backoffMs });
        if (error instanceof ApiError) this.#resourceVersion = undefined;
        await sleep(backoffMs * (0.5 + Math.random()), signal).catch(() => undefined);
        backoffMs = Math.min(backoffMs * 2, 10_000);
      }
    }
  }

  async #relist(): Promise<void> {
    const seen = new Set<string>();
    let version: string | undefined;
    // Each page is prepared before the next is read: what is taken out of objects is never there for all of them.
    for await (const page of this.#client.pages<T>(this.#path, this.#query)) {
      const kind = page.kind?.endsWith("List") ? page.kind.slice(0, -"List".length) : undefined;
      for (const object of page.items) {
        // The server omits them in the items of a list.
        object.kind ??= kind;
        object.apiVersion ??= page.apiVersion;
        seen.add(objectKey(object));
        this.#store(object);
      }
      version ??= page.metadata.resourceVersion;
    }
    for (const [key, object] of [...this.items]) if (!seen.has(key)) this.#remove(key, object);
    this.#resourceVersion = version;
    this.#misses = 0;
    this.#setSynced();
  }

  #miss(): void {
    if (++this.#misses !== absentAfter) return;
    this.#log.info("the server does not have this kind");
    this.#setSynced();
  }

  #setSynced(): void {
    this.#synced = true;
    for (const resolve of this.#onSynced.splice(0)) resolve();
  }

  async #follow(signal: AbortSignal, onEvent: () => void): Promise<void> {
    // The server ends the stream after this many seconds; spread, so that watches do not all end together.
    const timeoutSeconds = 240 + Math.floor(Math.random() * 120);
    const query = { ...this.#query, resourceVersion: this.#resourceVersion, timeoutSeconds };
    for await (const event of this.#client.watch<T>(this.#path, query, signal)) {
      onEvent();
      const version = event.object.metadata?.resourceVersion;
      if (version !== undefined) this.#resourceVersion = version;
      if (event.type === "DELETED") this.#remove(objectKey(event.object), event.object);
      else if (event.type !== "BOOKMARK") this.#store(event.object);
    }
  }

  #store(object: T): void {
    this.#prepare(object);
    const key = objectKey(object);
    const previous = this.items.get(key);
    if (previous !== undefined && previous.metadata.resourceVersion === object.metadata.resourceVersion)
      return;
    this.items.set(key, object);
    // Deleted and made anew between two lists: to a listener these are two objects.
    if (previous !== undefined && previous.metadata.uid !== object.metadata.uid) {
      this.#emit({ type: "deleted", object: previous, previous });
      this.#emit({ type: "added", object, previous: undefined });
    } else this.#emit({ type: previous === undefined ? "added" : "modified", object, previous });
  }

  #remove(key: string, object: T): void {
    const previous = this.items.get(key);
    if (previous === undefined) return;
    this.items.delete(key);
    this.#emit({ type: "deleted", object, previous });
  }

  #emit(change: Change<T>): void {
    for (const listener of this.#listeners) {
      try {
        listener(change);
      } catch (error) {
        this.#log.error("listener failed", { error });
      }
    }
  }
}
