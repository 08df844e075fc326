// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { addressBytes, addressText } from "../lib/addresses.ts";
import { createLogger } from "../lib/log.ts";
import {
  backendKey,
  backend as backendLayout,
  natEntry,
  natFlags,
  serviceKey,
  service as serviceLayout,
  socketNat,
  socketNatKey,
  tuple,
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
  let maps: { services: MemoryMap; backends: MemoryMap; nat: MemoryMap; socketNat: MemoryMap };
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
    maps = {
      services: new MemoryMap(),
      backends: new MemoryMap(),
      nat: new MemoryMap(),
      socketNat: new MemoryMap(),
    };
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

  describe("when UDP backends go", () => {
    const udp = 17;
    const reserved = new Uint8Array(3);
    const udpGroup = (key: string, address: string, backends: string[]): ServiceGroup => {
      const made = group(key, address, backends);
      return {
        ...made,
        protocol: udp,
        frontends: made.frontends.map((frontend) => ({ ...frontend, protocol: udp })),
      };
    };
    const idOf = (address: string) =>
      maps.services
        .entries()
        .filter(([key]) => addressText(serviceKey.decode(key).address) === address)
        .map(([, value]) => serviceLayout.decode(value).id)[0]!;
    /** Writes what the programs write for a node port's flow (both directions) and for a socket. */
    const addFlow = (serviceId: number, backend: string, protocol = udp) => {
      const client = addressBytes("172.30.0.9");
      const node = addressBytes("172.30.0.3");
      const pod = addressBytes(backend);
      const seen = { source: client, destination: node, sourcePort: 1000, destinationPort: 30000, protocol };
      const to = {
        source: node,
        destination: pod,
        sourcePort: 61000,
        destinationPort: 8080,
        protocol,
        reserved,
      };
      const reply = { source: pod, destination: node, sourcePort: 8080, destinationPort: 61000, protocol };
      const back = {
        source: node,
        destination: client,
        sourcePort: 30000,
        destinationPort: 1000,
        protocol,
        reserved,
      };
      const { NAT_SERVICE, NAT_REVERSE } = natFlags;
      maps.nat.setMany([
        [tuple.encode(seen), natEntry.encode({ to, serviceId, flags: NAT_SERVICE })],
        [tuple.encode(reply), natEntry.encode({ to: back, serviceId, flags: NAT_SERVICE | NAT_REVERSE })],
      ]);
      maps.socketNat.setMany([
        [
          socketNatKey.encode({ cookie: 7n, address: pod, port: 8080, protocol }),
          socketNat.encode({ address: addressBytes("10.96.0.1"), port: 80, serviceId }),
        ],
      ]);
    };
    /** Flows and sockets that are left. */
    const left = () => [maps.nat.data.size, maps.socketNat.data.size];

    test("their flows and sockets are forgotten", () => {
      table.apply([udpGroup("a", "10.96.0.1", ["10.0.0.1", "10.0.0.2"])]);
      addFlow(idOf("10.96.0.1"), "10.0.0.1");
      table.apply([udpGroup("a", "10.96.0.1", ["10.0.0.2"])]);
      assert.deepEqual(left(), [0, 0]);
    });

    test("those of a backend that stays remain, as do those of another service and TCP's", () => {
      const groups = [
        udpGroup("a", "10.96.0.1", ["10.0.0.1", "10.0.0.2"]),
        udpGroup("b", "10.96.0.2", ["10.0.0.1"]),
        group("c", "10.96.0.3", ["10.0.0.1"]),
      ];
      for (const [address, backend, protocol] of [
        ["10.96.0.1", "10.0.0.2", udp],
        ["10.96.0.2", "10.0.0.1", udp],
        ["10.96.0.3", "10.0.0.1", 6],
      ] as const) {
        table.apply(groups);
        addFlow(idOf(address), backend, protocol);
        table.apply([udpGroup("a", "10.96.0.1", ["10.0.0.2"]), group("c", "10.96.0.3", [])]);
        assert.deepEqual(left(), [2, 1], address);
        maps.nat.data.clear();
        maps.socketNat.data.clear();
      }
    });

    test("masqueraded flows of such a pod remain", () => {
      table.apply([udpGroup("a", "10.96.0.1", ["10.0.0.1"])]);
      const world = addressBytes("192.0.2.10");
      const pod = addressBytes("10.0.0.1");
      const ports = { sourcePort: 8080, destinationPort: 53, protocol: udp, reserved };
      const to = { ...ports, source: addressBytes("172.30.0.3"), destination: world };
      maps.nat.setMany([
        [tuple.encode({ ...ports, source: pod, destination: world }), natEntry.encode({ to })],
      ]);
      table.apply([], ["a"]);
      assert.equal(maps.nat.data.size, 1);
    });

    test("flows go with their service, and the next agent forgets those that ended without one", () => {
      table.apply([
        udpGroup("a", "10.96.0.1", ["10.0.0.1"]),
        udpGroup("b", "10.96.0.2", ["10.0.0.2", "10.0.0.3"]),
      ]);
      addFlow(idOf("10.96.0.1"), "10.0.0.1");
      addFlow(idOf("10.96.0.2"), "10.0.0.2");
      table.apply([], ["a"]);
      assert.deepEqual(left(), [2, 1]);
      const next = new ServiceTable(maps, log);
      next.inherit();
      next.apply([udpGroup("b", "10.96.0.2", ["10.0.0.3"])]);
      assert.deepEqual(left(), [2, 1]);
      next.prune();
      assert.deepEqual(left(), [0, 0]);
    });
  });
});
