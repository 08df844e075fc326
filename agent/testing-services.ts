// SPDX-License-Identifier: Apache-2.0
// For tests: the service maps in memory, and what the programs would find in them.
import assert from "node:assert/strict";
import { addressText } from "../lib/addresses.ts";
import {
  backendKey,
  backend as backendLayout,
  maglevChunk,
  maglevChunkSize,
  maglevKey,
  memberKey,
  member as memberLayout,
  serviceKey,
  service as serviceLayout,
  sourceRangeKey,
} from "./datapath-layout.ts";
import type { TableMap } from "./service-table.ts";

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

/** A map in memory that calls back after each change. */
class MemoryMap implements TableMap {
  readonly data = new Map<string, Uint8Array>();
  capacity = 1 << 20;
  onChange: () => void = () => undefined;
  get(key: Uint8Array): Uint8Array | undefined {
    return this.data.get(hex(key));
  }
  entries(): [Uint8Array, Uint8Array][] {
    return [...this.data].map(([key, value]) => [Buffer.from(key, "hex"), value]);
  }
  each(): [Uint8Array, Uint8Array][] {
    return this.entries();
  }
  setMany(entries: readonly (readonly [Uint8Array, Uint8Array])[]): void {
    for (const [key, value] of entries) {
      this.data.set(hex(key), value);
      assert.ok(this.data.size <= this.capacity, "the map is full");
      this.onChange();
    }
  }
  deleteMany(keys: readonly Uint8Array[]): void {
    for (const key of keys) {
      this.data.delete(hex(key));
      this.onChange();
    }
  }
}

export const memoryMaps = () => ({
  services: new MemoryMap(),
  backends: new MemoryMap(),
  maglev: new MemoryMap(),
  members: new MemoryMap(),
  sourceRanges: new MemoryMap(),
  nat: new MemoryMap(),
  socketNat: new MemoryMap(),
});
export type MemoryMaps = ReturnType<typeof memoryMaps>;

/** A frontend as the programs find it. Backends are `address port`. */
export interface SeenService {
  address: string;
  port: number;
  protocol: number;
  flags: number;
  affinitySeconds: number;
  cluster: string[];
  local: string[];
  /** Slot by entry of the Maglev table. */
  table: number[];
  ranges: string[];
}

/** Reads every frontend with all that hangs on it; throws when a slot, a chunk or a member is missing. */
export function readServices(maps: MemoryMaps): SeenService[] {
  return maps.services.entries().map(([key, value]) => {
    const { address, port, protocol } = serviceKey.decode(key);
    const { id, generation, backendCount, localCount, flags, tableSize, affinitySeconds } =
      serviceLayout.decode(value);
    const backends = Array.from({ length: backendCount + localCount }, (_, slot) => {
      const found = maps.backends.data.get(hex(backendKey.encode({ serviceId: id, generation, slot })));
      assert.ok(found, `slot ${slot} of service ${id} is missing`);
      return backendLayout.decode(found);
    });
    if (affinitySeconds > 0)
      for (const [slot, { id: backendId }] of backends.entries()) {
        const found = maps.members.data.get(hex(memberKey.encode({ serviceId: id, generation, backendId })));
        assert.ok(found, `member ${backendId} of service ${id} is missing`);
        const { cluster, local } = memberLayout.decode(found);
        assert.equal(slot < backendCount ? cluster : local + backendCount, slot + 1);
      }
    const table = Array.from({ length: tableSize }, (_, entry) => {
      const chunk = Math.floor(entry / maglevChunkSize);
      const found = maps.maglev.data.get(hex(maglevKey.encode({ serviceId: id, generation, chunk })));
      assert.ok(found, `chunk ${chunk} of service ${id} is missing`);
      return Buffer.from(maglevChunk.decode(found).slot).readUInt16LE((entry % maglevChunkSize) * 2);
    });
    const ranges = maps.sourceRanges
      .entries()
      .map(([rangeKey]) => sourceRangeKey.decode(rangeKey))
      .filter(({ serviceId }) => serviceId === id)
      .map(({ prefixLength, address: base }) => {
        const text = addressText(base);
        return `${text}/${prefixLength - 32 - (text.includes(":") ? 0 : 96)}`;
      });
    const names = backends.map((backend) => `${addressText(backend.address)} ${backend.port}`);
    return {
      address: addressText(address),
      port,
      protocol,
      flags,
      affinitySeconds,
      cluster: names.slice(0, backendCount),
      local: names.slice(backendCount),
      table,
      ranges: ranges.toSorted(),
    };
  });
}
