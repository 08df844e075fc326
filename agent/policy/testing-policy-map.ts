// SPDX-License-Identifier: Apache-2.0
// For tests: the policy maps in memory.
import type { PolicyMap } from "./policy-table.ts";

export const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
export const word = (bytes: Uint8Array | undefined): number =>
  bytes === undefined ? 0 : Buffer.from(bytes).readUInt32LE();

/** A map that policies are written to. */
export class MemoryMap implements PolicyMap {
  readonly capacity: number;
  readonly #entries = new Map<string, [Uint8Array, Uint8Array]>();

  constructor(capacity = 1 << 20) {
    this.capacity = capacity;
  }

  *keys(): Iterable<Uint8Array> {
    for (const [key] of this.#entries.values()) yield key;
  }
  get = (key: Uint8Array): Uint8Array | undefined =>
    this.#entries.size === 0 ? undefined : this.#entries.get(hex(key))?.[1];
  set = (key: Uint8Array, value: Uint8Array): unknown => this.#entries.set(hex(key), [key, value]);
  setMany(entries: readonly (readonly [Uint8Array, Uint8Array])[]): void {
    for (const [key, value] of entries) this.set(key, value);
  }
  deleteMany(keys: readonly Uint8Array[]): void {
    for (const key of keys) this.#entries.delete(hex(key));
  }
}
