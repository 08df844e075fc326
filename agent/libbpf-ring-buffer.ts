// SPDX-License-Identifier: Apache-2.0
import { BpfError, check, ffi, lastErrno, memoryView } from "./libbpf-ffi.ts";
import type { BpfMap } from "./libbpf-map.ts";

const pageSize = 4096;
const busyBit = 1 << 31;
const discardBit = 1 << 30;
const headerSize = 8;
const mapRead = 1;
const mapWrite = 2;
const mapShared = 1;

/**
 * Reads a BPF_MAP_TYPE_RINGBUF from its mapped memory. Positions and headers are read with Atomics: a DataView
 * may tear them, and the ring would jam for good.
 */
export class RingBufferReader {
  readonly #size: number;
  readonly #consumerPointer: unknown;
  readonly #producerPointer: unknown;
  readonly #consumed: BigInt64Array;
  readonly #produced: BigInt64Array;
  readonly #headers: Int32Array;
  readonly #data: Uint8Array;

  /** The map must stay open as long as the reader. */
  constructor(map: BpfMap) {
    this.#size = map.info.maxEntries;
    this.#consumerPointer = mapMemory(map.fd, pageSize, mapRead | mapWrite, 0);
    // The data lies twice in a row behind the producer's page, so that no record is cut at the end.
    const length = pageSize + 2 * this.#size;
    this.#producerPointer = mapMemory(map.fd, length, mapRead, pageSize);
    this.#consumed = new BigInt64Array(memoryView(this.#consumerPointer, pageSize), 0, 1);
    const memory = memoryView(this.#producerPointer, length);
    this.#produced = new BigInt64Array(memory, 0, 1);
    this.#headers = new Int32Array(memory, pageSize);
    this.#data = new Uint8Array(memory, pageSize);
  }

  /**
   * Hands every finished record to `use` and returns how many there were, `limit` at most. The bytes are the
   * ring's own memory: copy what must outlive the call.
   */
  drain(use: (record: Uint8Array) => void, limit = 65_536): number {
    let position = Atomics.load(this.#consumed, 0);
    const end = Atomics.load(this.#produced, 0);
    let records = 0;
    while (position < end && records < limit) {
      const offset = Number(position % BigInt(this.#size));
      const header = Atomics.load(this.#headers, offset / 4);
      if ((header & busyBit) !== 0) break;
      const length = header & ~(busyBit | discardBit);
      if ((header & discardBit) === 0) {
        use(this.#data.subarray(offset + headerSize, offset + headerSize + length));
        records++;
      }
      position += BigInt((length + headerSize + 7) & ~7);
      Atomics.store(this.#consumed, 0, position);
    }
    return records;
  }

  /** Unmaps the memory; the reader and records kept from it must not be used afterwards. */
  close(): void {
    check(ffi().munmap(this.#consumerPointer, pageSize), "Cannot unmap the ring buffer");
    check(ffi().munmap(this.#producerPointer, pageSize + 2 * this.#size), "Cannot unmap the ring buffer");
  }
}

function mapMemory(fd: number, length: number, protection: number, offset: number): unknown {
  const pointer = ffi().mmap(null, length, protection, mapShared, fd, offset);
  if (BigInt.asIntN(64, BigInt(pointer ?? 0)) === -1n)
    throw new BpfError("Cannot map the ring buffer", lastErrno());
  return pointer;
}
