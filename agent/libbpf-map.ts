// SPDX-License-Identifier: Apache-2.0
import { BpfError, check, ffi } from "./libbpf-ffi.ts";

const noEntry = 2;
const exists = 17;
const mapTypes = { hash: 1, percpuHash: 5, percpuArray: 6, lruHash: 9, lruPercpuHash: 10 } as const;
const perCpuTypes: readonly number[] = [mapTypes.percpuHash, mapTypes.percpuArray, mapTypes.lruPercpuHash];

let cpus: number | undefined;
/** CPUs that the kernel may ever have: the number of values in a per-CPU entry. */
export function possibleCpus(): number {
  cpus ??= check(ffi().libbpf_num_possible_cpus(), "Cannot read the number of possible CPUs");
  return cpus;
}

/** What the kernel says about a map. */
interface MapInfo {
  type: number;
  id: number;
  keySize: number;
  valueSize: number;
  maxEntries: number;
  name: string;
}

function mapInfo(fd: number): MapInfo {
  const info = Buffer.alloc(88);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(info.length);
  check(ffi().bpf_obj_get_info_by_fd(fd, info, length), "Cannot read a map's description");
  return {
    type: info.readUInt32LE(0),
    id: info.readUInt32LE(4),
    keySize: info.readUInt32LE(8),
    valueSize: info.readUInt32LE(12),
    maxEntries: info.readUInt32LE(16),
    name: info.toString("latin1", 24, 40).replace(/\0.*$/, ""),
  };
}

/**
 * A BPF map by its descriptor. Keys and values are raw bytes (encode them with agent/datapath-layout.ts). A
 * per-CPU map's value is that of all CPUs, see `getPerCpu`.
 */
export class BpfMap {
  readonly fd: number;
  readonly info: MapInfo;
  /** Bytes that user space reads or writes per entry. */
  readonly #valueBytes: number;

  /** Takes over the descriptor: `close()` closes it. */
  constructor(fd: number) {
    this.fd = fd;
    this.info = mapInfo(fd);
    this.#valueBytes = this.perCpu ? align8(this.info.valueSize) * possibleCpus() : this.info.valueSize;
  }

  get name(): string {
    return this.info.name;
  }

  /** Most entries that it takes. */
  get capacity(): number {
    return this.info.maxEntries;
  }

  get perCpu(): boolean {
    return perCpuTypes.includes(this.info.type);
  }

  /** The value, or undefined when the key is not there. */
  get(key: Uint8Array): Uint8Array | undefined {
    this.#checkSize(key, this.info.keySize, "key");
    const value = Buffer.alloc(this.#valueBytes);
    const result = ffi().bpf_map_lookup_elem(this.fd, key, value);
    if (result === -noEntry) return undefined;
    check(result, `Cannot read map ${this.name}`);
    return value;
  }

  /** The values of all CPUs, or undefined when the key is not there. */
  getPerCpu(key: Uint8Array): Uint8Array[] | undefined {
    const all = this.get(key);
    return all === undefined ? undefined : this.splitPerCpu(all);
  }

  /** Cuts a per-CPU entry's bytes into one value a CPU. */
  splitPerCpu(all: Uint8Array): Uint8Array[] {
    const step = align8(this.info.valueSize);
    return Array.from({ length: possibleCpus() }, (_, cpu) =>
      all.subarray(cpu * step, cpu * step + this.info.valueSize),
    );
  }

  /** Writes one entry. With `onlyNew`, an existing one stays, and false is returned. */
  set(key: Uint8Array, value: Uint8Array, options: { onlyNew?: boolean } = {}): boolean {
    this.#checkSize(key, this.info.keySize, "key");
    this.#checkSize(value, this.#valueBytes, "value");
    const result = ffi().bpf_map_update_elem(this.fd, key, value, options.onlyNew === true ? 1 : 0);
    if (result === -exists && options.onlyNew === true) return false;
    check(result, `Cannot write map ${this.name}`, this.#fullRemedy(result));
    return true;
  }

  /** Deletes one entry; false when it was not there. */
  delete(key: Uint8Array): boolean {
    this.#checkSize(key, this.info.keySize, "key");
    const result = ffi().bpf_map_delete_elem(this.fd, key);
    if (result === -noEntry) return false;
    check(result, `Cannot delete from map ${this.name}`);
    return true;
  }

  /** Writes many entries in one call (2 million a second). */
  setMany(entries: readonly (readonly [key: Uint8Array, value: Uint8Array])[]): void {
    if (entries.length === 0) return;
    const { keySize } = this.info;
    const keys = Buffer.alloc(keySize * entries.length);
    const values = Buffer.alloc(this.#valueBytes * entries.length);
    entries.forEach(([key, value], index) => {
      this.#checkSize(key, keySize, "key");
      this.#checkSize(value, this.#valueBytes, "value");
      keys.set(key, index * keySize);
      values.set(value, index * this.#valueBytes);
    });
    const result = ffi().bpf_map_update_batch(this.fd, keys, values, count(entries.length), null);
    if (result === 0) return;
    // Older kernels have no batch for some types; and one call a key names the entry that fails.
    for (const [key, value] of entries) this.set(key, value);
  }

  /** Deletes many entries; those that are not there are skipped. */
  deleteMany(keys: readonly Uint8Array[]): void {
    for (const key of keys) this.delete(key);
  }

  /** All keys. A map that changes meanwhile may repeat or miss some, as the kernel's iteration does. */
  *keys(): Generator<Uint8Array> {
    let previous: Buffer | null = null;
    for (;;) {
      const next = Buffer.alloc(this.info.keySize);
      const result: number = ffi().bpf_map_get_next_key(this.fd, previous, next);
      if (result === -noEntry) return;
      check(result, `Cannot list map ${this.name}`);
      yield next;
      previous = next;
    }
  }

  /** All entries, read in batches where the kernel can. */
  entries(): [key: Uint8Array, value: Uint8Array][] {
    return this.#entriesByBatch() ?? this.#entriesOneByOne();
  }

  #entriesOneByOne(): [Uint8Array, Uint8Array][] {
    const found: [Uint8Array, Uint8Array][] = [];
    for (const key of this.keys()) {
      const value = this.get(key);
      if (value !== undefined) found.push([key, value]);
      if (found.length > 2 * this.info.maxEntries) break; // a map that changes faster than it is read
    }
    return found;
  }

  #entriesByBatch(): [Uint8Array, Uint8Array][] | undefined {
    const found: [Uint8Array, Uint8Array][] = [];
    for (const batch of this.batches()) {
      if (batch === undefined) return undefined;
      found.push(...batch);
    }
    return found;
  }

  /**
   * The entries as `entries()` has them, for a look at each: an array of a hundred thousand would outlive young garbage
   * and leave the heap that much larger. Change the map only when it is through.
   */
  *each(): Generator<[key: Uint8Array, value: Uint8Array]> {
    for (const batch of this.#readBatches()) {
      if (batch === undefined) {
        yield* this.#entriesOneByOne();
        return;
      }
      for (let index = 0; index < batch.count; index++) yield batch.entry(index);
    }
  }

  /** Entries, some thousand at a time; `undefined` ends it when the kernel has no batches for this type of map. */
  *batches(): Generator<[Uint8Array, Uint8Array][] | undefined> {
    for (const batch of this.#readBatches())
      yield batch && Array.from({ length: batch.count }, (_, index) => batch.entry(index));
  }

  /** Each batch is to be read before the next: they share their memory. */
  *#readBatches(): Generator<
    { count: number; entry: (index: number) => [key: Uint8Array, value: Uint8Array] } | undefined
  > {
    const { keySize } = this.info;
    const size = Math.min(4096, Math.max(64, this.info.maxEntries));
    const keys = Buffer.alloc(keySize * size);
    const values = Buffer.alloc(this.#valueBytes * size);
    const position = Buffer.alloc(Math.max(keySize, 8));
    for (let first = true; ; first = false) {
      const wanted = count(size);
      const from = first ? null : position;
      const result = ffi().bpf_map_lookup_batch(this.fd, from, position, keys, values, wanted, null);
      if (result !== 0 && result !== -noEntry) {
        yield undefined;
        return;
      }
      yield {
        count: wanted.readUInt32LE(),
        entry: (index) => [
          Uint8Array.from(keys.subarray(index * keySize, (index + 1) * keySize)),
          Uint8Array.from(values.subarray(index * this.#valueBytes, (index + 1) * this.#valueBytes)),
        ],
      };
      if (result === -noEntry) return;
    }
  }

  close(): void {
    ffi().close(this.fd);
  }

  #checkSize(data: Uint8Array, size: number, what: string): void {
    if (data.length !== size)
      throw new RangeError(`map ${this.name}: ${what} of ${data.length} bytes, expected ${size}`);
  }

  #fullRemedy(result: number): string | undefined {
    return result === -7 || result === -28
      ? `The map is full (${this.info.maxEntries} entries): raise its size in the agent's configuration`
      : undefined;
  }
}

/** Opens a pinned map. Throws BpfError (errno 2) when there is none. */
export function openPinnedMap(path: string): BpfMap {
  return new BpfMap(openPinned(path));
}

/** The descriptor of any pinned object; the caller closes it. */
export function openPinned(path: string): number {
  const fd = ffi().bpf_obj_get(path);
  if (fd < 0) throw new BpfError(`Cannot open the pinned object ${path}`, -fd);
  return fd;
}

function align8(size: number): number {
  return (size + 7) & ~7;
}

function count(entries: number): Buffer {
  const buffer = Buffer.alloc(4);
  buffer.writeUInt32LE(entries);
  return buffer;
}
