// SPDX-License-Identifier: Apache-2.0

const forgetAfterMs = 30_000;

/**
 * What a controller has done that its cache does not show yet. Without it, a controller that looks at a cache
 * older than its own writes would create or delete a second time.
 */
export class Expectations {
  readonly #byKey = new Map<string, { creations: number; deletions: Set<string>; atMs: number }>();

  #entry(key: string) {
    let entry = this.#byKey.get(key);
    if (entry === undefined) {
      entry = { creations: 0, deletions: new Set(), atMs: Date.now() };
      this.#byKey.set(key, entry);
    }
    entry.atMs = Date.now();
    return entry;
  }

  /** To be called before the object is created; `creationSeen` takes it back, also when creating failed. */
  expectCreation(key: string): void {
    this.#entry(key).creations++;
  }

  creationSeen(key: string): void {
    const entry = this.#byKey.get(key);
    if (entry !== undefined && entry.creations > 0) entry.creations--;
  }

  /** To be called before the object is deleted; `deletionSeen` takes it back, also when deleting failed. */
  expectDeletion(key: string, uid: string): void {
    this.#entry(key).deletions.add(uid);
  }

  deletionSeen(key: string, uid: string): void {
    this.#byKey.get(key)?.deletions.delete(uid);
  }

  /** Whether the cache shows everything done; after half a minute of silence the cache is believed anyway. */
  satisfied(key: string): boolean {
    const entry = this.#byKey.get(key);
    if (entry === undefined) return true;
    if (entry.creations === 0 && entry.deletions.size === 0) {
      this.#byKey.delete(key);
      return true;
    }
    if (Date.now() - entry.atMs <= forgetAfterMs) return false;
    this.#byKey.delete(key);
    return true;
  }

  forget(key: string): void {
    this.#byKey.delete(key);
  }
}
