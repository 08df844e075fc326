// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { addressBytes, addressText } from "../lib/addresses.ts";
import {
  natEntry,
  natFlags,
  serviceKey,
  service as serviceLayout,
  socketNat,
  socketNatKey,
  tuple,
} from "./datapath-layout.ts";
import type { ServiceGroup } from "./service-model.ts";
import { ServiceTable } from "./service-table.ts";
import { type MemoryMaps, memoryMaps, readServices } from "./testing-services.ts";

const group = (key: string, address: string, backends: string[], port = 80): ServiceGroup => ({
  key,
  since: "2026-01-01T00:00:00Z",
  protocol: 6,
  frontends: [{ address, port, protocol: 6, flags: 0, affinitySeconds: 0 }],
  backends: backends.map((text) => ({ address: text, port: 8080, weight: 1 })),
  localBackends: [],
  known: backends.map((text) => `${text} 8080`),
  sourceRanges: [],
  table: false,
});

describe("the service maps", () => {
  let maps: MemoryMaps;
  let table: ServiceTable;
  /** What a lookup would find: `address:port` to backends; throws when something is missing. */
  const lookup = () =>
    Object.fromEntries(
      readServices(maps).map(({ address, port, cluster }) => [
        `${address}:${port}`,
        cluster.map((backend) => backend.split(" ")[0]!),
      ]),
    );
  beforeEach(() => {
    maps = memoryMaps();
    table = new ServiceTable(maps);
    for (const map of Object.values(maps)) map.onChange = () => void lookup();
  });

  test("a change of backends never shows a missing slot, and leaves no old one", () => {
    table.apply([group("a", "10.96.0.1", ["10.0.0.1", "10.0.0.2", "10.0.0.3"])]);
    table.apply([group("a", "10.96.0.1", ["10.0.0.3"])]);
    table.apply([group("a", "10.96.0.1", ["10.0.0.4", "10.0.0.5"])]);
    assert.deepEqual(lookup(), { "10.96.0.1:80": ["10.0.0.4", "10.0.0.5"] });
    assert.equal(maps.backends.data.size, 2);
  });

  test("many groups are written in parts, each before what leads there", () => {
    let most = 0;
    const { setMany } = maps.backends;
    maps.backends.setMany = (entries) => {
      assert.equal(maps.services.data.size, 0);
      most = Math.max(most, entries.length);
      setMany.call(maps.backends, entries);
    };
    for (const map of Object.values(maps)) map.onChange = () => undefined;
    const addressOf = (net: number, index: number) => `10.${net}.${index >> 8}.${index & 255}`;
    const expected = Array.from({ length: 1000 }, (_, index): [string, string[]] => [
      addressOf(96, index),
      [addressOf(0, index), addressOf(1, index)],
    ]);
    table.apply(expected.map(([address, backends]) => group(address, address, backends)));
    assert.deepEqual(
      lookup(),
      Object.fromEntries(expected.map(([address, backends]) => [`${address}:80`, backends])),
    );
    assert.ok(most < 500, `${most} slots in one part`);
    assert.equal(maps.backends.data.size, 2000);
  });

  test("a Service without backends stays, so that connects are refused", () => {
    table.apply([group("a", "10.96.0.1", [])]);
    assert.deepEqual(lookup(), { "10.96.0.1:80": [] });
    table.apply([], ["a"]);
    assert.deepEqual(lookup(), {});
  });

  test("an address taken twice is that of the older, whoever comes first, and goes to the other when it is free", () => {
    const young = { ...group("0", "10.96.0.1", ["10.0.0.2"]), since: "2026-01-02T00:00:00Z" };
    table.apply([young]);
    table.apply([group("a", "10.96.0.1", ["10.0.0.1"])]);
    assert.deepEqual(lookup(), { "10.96.0.1:80": ["10.0.0.1"] });
    assert.deepEqual(table.problems, [
      { group: "0", message: "10.96.0.1 port 80/TCP is that of a, which is older" },
    ]);
    table.apply([young]);
    assert.deepEqual([lookup(), table.problems.length], [{ "10.96.0.1:80": ["10.0.0.1"] }, 1]);
    table.apply([], ["a"]);
    assert.deepEqual(lookup(), { "10.96.0.1:80": ["10.0.0.2"] });
  });

  test("the next agent takes over without a gap and removes the rest", () => {
    table.apply([group("a", "10.96.0.1", ["10.0.0.1"]), group("b", "10.96.0.2", ["10.0.0.2"])]);
    const idOf = () => serviceLayout.decode(maps.services.entries()[0]![1]).id;
    const before = idOf();
    const next = new ServiceTable(maps);
    next.inherit();
    next.apply([group("a", "10.96.0.1", ["10.0.0.9"]), group("c", "10.96.0.3", ["10.0.0.3"])]);
    assert.equal(lookup()["10.96.0.2:80"]?.[0], "10.0.0.2");
    assert.deepEqual(next.prune(), { frontends: 1, slots: 2 });
    assert.deepEqual(lookup(), { "10.96.0.1:80": ["10.0.0.9"], "10.96.0.3:80": ["10.0.0.3"] });
    assert.equal(idOf(), before);
    assert.equal(maps.backends.data.size, 2);
  });

  const rich = (key: string, address: string, backends: string[]): ServiceGroup => {
    const made = group(key, address, backends);
    const frontends = made.frontends.map((frontend) => ({ ...frontend, affinitySeconds: 60, flags: 8 | 2 }));
    const localBackends = made.backends.slice(0, 1);
    return { ...made, frontends, localBackends, sourceRanges: ["192.0.2.0/24"], table: true };
  };

  test("clearing leaves nothing", () => {
    table.apply([rich("a", "10.96.0.1", ["10.0.0.1", "10.0.0.2"]), group("b", "10.96.0.2", ["10.0.0.1"])]);
    assert.deepEqual(
      table.fill.map(({ entries }) => entries),
      [2, 4, 4, 2, 1],
    );
    table.clear();
    for (const [name, map] of Object.entries(maps)) assert.equal(map.data.size, 0, name);
    assert.deepEqual(
      table.fill.map(({ entries }) => entries),
      [0, 0, 0, 0, 0],
    );
  });

  test("table, members and ranges follow, and the next agent drops those of the last", () => {
    table.apply([rich("a", "10.96.0.1", ["10.0.0.1", "10.0.0.2", "10.0.0.3"])]);
    table.apply([{ ...rich("a", "10.96.0.1", ["10.0.0.2", "10.0.0.3"]), sourceRanges: ["198.51.100.0/24"] }]);
    const sizes = () =>
      [maps.backends, maps.maglev, maps.members, maps.sourceRanges].map(({ data }) => data.size);
    assert.deepEqual(sizes(), [3, 4, 2, 1]);
    const [seen] = readServices(maps);
    assert.deepEqual(seen?.ranges, ["198.51.100.0/24"]);
    assert.deepEqual(new Set(seen.table), new Set([0, 1]));
    const next = new ServiceTable(maps);
    next.inherit();
    next.apply([group("a", "10.96.0.1", ["10.0.0.2"])]);
    next.prune();
    assert.deepEqual(sizes(), [1, 0, 0, 0]);
  });

  test("what somebody else removed, changed or added is mended", () => {
    table.apply([rich("a", "10.96.0.1", ["10.0.0.1", "10.0.0.2"]), group("b", "10.96.0.2", ["10.0.0.3"])]);
    assert.deepEqual(table.verify(), { mended: [], removed: 0 });
    const sorted = () => readServices(maps).toSorted((a, b) => (a.address < b.address ? -1 : 1));
    const seen = () => JSON.stringify(sorted());
    const before = seen();
    for (const map of Object.values(maps)) map.onChange = () => undefined;
    for (const name of ["services", "backends", "maglev", "members", "sourceRanges"] as const) {
      maps[name].data.delete([...maps[name].data.keys()][0]!);
      assert.equal(table.verify().mended.length, 1, name);
      assert.equal(seen(), before);
    }
    const [slot, value] = [...maps.backends.data][0]!;
    maps.backends.data.set(
      slot,
      Uint8Array.from(value, (byte) => byte ^ 1),
    );
    maps.services.data.set("ff".repeat(20), new Uint8Array(20));
    const { mended, removed } = table.verify();
    assert.deepEqual([mended.length, removed], [1, 1]);
    assert.equal(seen(), before);
    assert.deepEqual(table.verify(), { mended: [], removed: 0 });
  });

  test("a service that does not fit is refused and told, and fits when another goes", () => {
    maps.backends.capacity = 8;
    table.apply([group("a", "10.96.0.1", ["10.0.0.1", "10.0.0.2"]), group("b", "10.96.0.2", ["10.0.0.3"])]);
    table.apply([group("b", "10.96.0.2", ["10.0.0.3", "10.0.0.4", "10.0.0.5"])]);
    assert.deepEqual(lookup(), { "10.96.0.1:80": ["10.0.0.1", "10.0.0.2"], "10.96.0.2:80": ["10.0.0.3"] });
    assert.match(
      table.problems[0]!.message,
      /no room for it: backends has 3 of 4 entries and would need 2 more/,
    );
    table.apply([], ["a"]);
    assert.deepEqual(lookup(), { "10.96.0.2:80": ["10.0.0.3", "10.0.0.4", "10.0.0.5"] });
    assert.deepEqual(table.problems, []);
  });

  test("10,000 endpoints are one service's", () => {
    const many = Array.from({ length: 10_000 }, (_, index) => `10.${1 + (index >> 8)}.${index & 255}.1`);
    for (const map of Object.values(maps)) map.onChange = () => undefined;
    table.apply([group("a", "10.96.0.1", many)]);
    assert.equal(lookup()["10.96.0.1:80"]?.length, 10_000);
    table.apply([group("a", "10.96.0.1", [...many, ...many.map((text) => text.replace(/1$/, "2"))])]);
    assert.equal(maps.backends.data.size, 20_000);
  });

  test("who ends sockets is told of TCP endpoints that are no more, and not of those that only end", () => {
    const told: string[][] = [];
    let changed: ReadonlySet<string> = new Set();
    table = new ServiceTable(maps, ({ tcp }) => {
      changed = tcp;
      told.push([...tcp].map((name) => name.split(" ")[1]!));
    });
    const both = group("a", "10.96.0.1", ["10.0.0.1", "10.0.0.2"]);
    table.apply([both]);
    // The first one ends: it serves no more, and is still there.
    table.apply([{ ...group("a", "10.96.0.1", ["10.0.0.2"]), known: both.known }]);
    assert.deepEqual(told, []);
    table.apply([group("a", "10.96.0.1", ["10.0.0.2"])]);
    assert.deepEqual(told, [[Buffer.from(addressBytes("10.0.0.1")).toString("hex")]]);
    const [name] = changed;
    assert.deepEqual(table.known(changed), new Set());
    table.apply([both]);
    assert.deepEqual(table.known(changed), new Set([name]), "it was only on its way to another slice");
    // The Service goes, its endpoints may well live: what is connected to them stays.
    table.apply([], ["a"]);
    assert.equal(told.length, 1);
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
      const told: unknown[] = [];
      table = new ServiceTable(maps, ({ udp: sockets }) => told.push(...sockets));
      table.inherit();
      table.apply([udpGroup("a", "10.96.0.1", ["10.0.0.1", "10.0.0.2"])]);
      addFlow(idOf("10.96.0.1"), "10.0.0.1");
      table.apply([udpGroup("a", "10.96.0.1", ["10.0.0.2"])]);
      assert.deepEqual(left(), [0, 0]);
      assert.deepEqual(told, [{ cookie: 7n, port: 8080 }]);
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
      const next = new ServiceTable(maps);
      next.inherit();
      next.apply([udpGroup("b", "10.96.0.2", ["10.0.0.3"])]);
      assert.deepEqual(left(), [2, 1]);
      next.prune();
      assert.deepEqual(left(), [0, 0]);
    });
  });
});
