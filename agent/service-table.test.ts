// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { addressText } from "../lib/addresses.ts";
import { createLogger } from "../lib/log.ts";
import {
  backendKey,
  backend as backendLayout,
  serviceKey,
  service as serviceLayout,
} from "./datapath-layout.ts";
import type { ServiceGroup } from "./service-model.ts";
import { ServiceTable, type TableMap } from "./service-table.ts";

/** A map in memory that calls back before each change. */
class MemoryMap implements TableMap {
  readonly data = new Map<string, Uint8Array>();
  onChange: () => void = () => undefined;
  entries(): [Uint8Array, Uint8Array][] {
    return [...this.data].map(([key, value]) => [Buffer.from(key, "hex"), value]);
  }
  setMany(entries: readonly (readonly [Uint8Array, Uint8Array])[]): void {
    for (const [key, value] of entries) {
      this.data.set(Buffer.from(key).toString("hex"), value);
      this.onChange();
    }
  }
  deleteMany(keys: readonly Uint8Array[]): void {
    for (const key of keys) {
      this.data.delete(Buffer.from(key).toString("hex"));
      this.onChange();
    }
  }
}

const log = createLogger(() => undefined);
const group = (key: string, address: string, backends: string[], port = 80): ServiceGroup => ({
  key,
  protocol: 6,
  frontends: [{ address, port, protocol: 6, flags: 0, affinitySeconds: 0 }],
  backends: backends.map((text) => ({ address: text, port: 8080, local: false })),
});

describe("the service maps", () => {
  let maps: { services: MemoryMap; backends: MemoryMap; nat: MemoryMap };
  let table: ServiceTable;
  /** What a lookup would find: `address:port` to backends; throws when a slot is missing. */
  const lookup = () =>
    Object.fromEntries(
      maps.services.entries().map(([key, value]) => {
        const { address, port } = serviceKey.decode(key);
        const { id, generation, backendCount } = serviceLayout.decode(value);
        const found = Array.from({ length: backendCount }, (_, slot) => {
          const slotKey = Buffer.from(backendKey.encode({ serviceId: id, generation, slot })).toString("hex");
          const backend = maps.backends.data.get(slotKey);
          assert.ok(backend, `slot ${slot} of service ${id} is missing`);
          return addressText(backendLayout.decode(backend).address);
        });
        return [`${addressText(address)}:${port}`, found];
      }),
    );
  beforeEach(() => {
    maps = { services: new MemoryMap(), backends: new MemoryMap(), nat: new MemoryMap() };
    table = new ServiceTable(maps, log);
    for (const map of Object.values(maps)) map.onChange = () => void lookup();
  });

  test("a change of backends never shows a missing slot, and leaves no old one", () => {
    table.apply([group("a", "10.96.0.1", ["10.0.0.1", "10.0.0.2", "10.0.0.3"])]);
    table.apply([group("a", "10.96.0.1", ["10.0.0.3"])]);
    table.apply([group("a", "10.96.0.1", ["10.0.0.4", "10.0.0.5"])]);
    assert.deepEqual(lookup(), { "10.96.0.1:80": ["10.0.0.4", "10.0.0.5"] });
    assert.equal(maps.backends.data.size, 2);
  });

  test("a Service without backends stays, so that connects are refused", () => {
    table.apply([group("a", "10.96.0.1", [])]);
    assert.deepEqual(lookup(), { "10.96.0.1:80": [] });
    table.apply([], ["a"]);
    assert.deepEqual(lookup(), {});
  });

  test("an address taken twice stays with the first, and goes to the second when it is free", () => {
    table.apply([group("a", "10.96.0.1", ["10.0.0.1"]), group("b", "10.96.0.1", ["10.0.0.2"])]);
    assert.deepEqual(lookup(), { "10.96.0.1:80": ["10.0.0.1"] });
    table.apply([], ["a"]);
    assert.deepEqual(lookup(), { "10.96.0.1:80": ["10.0.0.2"] });
  });

  test("the next agent takes over without a gap and removes the rest", () => {
    table.apply([group("a", "10.96.0.1", ["10.0.0.1"]), group("b", "10.96.0.2", ["10.0.0.2"])]);
    const idOf = () => serviceLayout.decode(maps.services.entries()[0]![1]).id;
    const before = idOf();
    const next = new ServiceTable(maps, log);
    next.inherit();
    next.apply([group("a", "10.96.0.1", ["10.0.0.9"]), group("c", "10.96.0.3", ["10.0.0.3"])]);
    assert.equal(lookup()["10.96.0.2:80"]?.[0], "10.0.0.2");
    assert.deepEqual(next.prune(), { frontends: 1, slots: 2 });
    assert.deepEqual(lookup(), { "10.96.0.1:80": ["10.0.0.9"], "10.96.0.3:80": ["10.0.0.3"] });
    assert.equal(idOf(), before);
    assert.equal(maps.backends.data.size, 2);
  });

  test("clearing leaves nothing", () => {
    table.apply([group("a", "10.96.0.1", ["10.0.0.1"])]);
    table.clear();
    assert.equal(maps.services.data.size + maps.backends.data.size, 0);
  });
});
