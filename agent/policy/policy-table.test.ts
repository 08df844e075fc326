// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { parseCidr } from "../../lib/addresses.ts";
import { policyNetworkKey, policyTable, policyTableKey } from "../datapath-layout.ts";
import type { CompiledDirection, PortTable } from "./compile.ts";
import { PolicyTable } from "./policy-table.ts";
import { MemoryMap } from "./testing-policy-map.ts";

/** Judged by a table of one entry. */
const judgedBy = (by: string) => {
  const ingress: CompiledDirection = {
    tables: new Map(),
    everybody: { ports: [], rest: { verdict: "deny", by } },
  };
  return new Map([[1, { ingress, egress: undefined, audit: false }]]);
};
const tableOf = (policyTables: MemoryMap, policyNetworks = new MemoryMap()) =>
  new PolicyTable({
    ...{ policyTables, policyNetworks },
    policyOf: new MemoryMap(),
    policyPorts: new MemoryMap(),
    policyPrefixes: new MemoryMap(),
  });
/** A table that another one holds for some networks. */
const withNetworks = (by: string, ...texts: string[]): PortTable => ({
  ...{ ports: [], rest: { verdict: "allow", by } },
  networks: texts.map((text) => ({
    cidr: parseCidr(text),
    table: { ports: [], rest: { verdict: "deny", by: "network" } },
  })),
});
const egressBy = (everybody: PortTable, tables: CompiledDirection["tables"] = new Map()) =>
  new Map([[1, { ingress: undefined, egress: { tables, everybody }, audit: false }]]);

test("a change waits for the room of what was replaced just now", () => {
  const map = new MemoryMap(2);
  const table = tableOf(map);
  for (const by of ["first", "second", "third", "fourth"]) table.apply(judgedBy(by), []);
  assert.equal([...map.keys()].length, 2);
});

test("more than half of a map is refused, for the next agent writes all beside it; what is in force stays", () => {
  const map = new MemoryMap(3);
  const table = tableOf(map);
  table.apply(judgedBy("first"), []);
  const before = table.wordOf(1);
  const two = new Map([...judgedBy("first"), [2, judgedBy("second").get(1)!]]);
  assert.throws(() => table.apply(two, []), { code: "PolicyMapFull" });
  assert.equal(table.wordOf(1), before);
  const next = tableOf(map);
  next.apply(judgedBy("other"), []);
  assert.notEqual(next.wordOf(1), before);
});

test("networks are written once for a table, however many identities have it, and go with it", () => {
  const [map, networks] = [new MemoryMap(), new MemoryMap()];
  const table = tableOf(map, networks);
  const two = () => withNetworks("some", "10.0.0.0/8", "::/0");
  const some = new Map(Array.from({ length: 100 }, (_, id) => [300 + id, two()]));
  table.apply(egressBy(withNetworks("all", "10.0.0.0/8"), some), []);
  assert.deepEqual([[...map.keys()].length, [...networks.keys()].length], [101, 3]);
  const named = new Map([...map.keys()].map((key) => [policyTable.decode(map.get(key)!).table, key]));
  for (const key of networks.keys()) {
    const { table: number, ipVersion, prefixLength } = policyNetworkKey.decode(key);
    assert.equal(policyTable.decode(map.get(named.get(number)!)!).networks, 1);
    assert.equal(policyTable.decode(networks.get(key)!).networks, 0);
    assert.equal(prefixLength, ipVersion === 4 ? 64 + 96 + 8 : 64);
  }
  table.apply(egressBy(withNetworks("all", "10.0.0.0/9")), []);
  table.collect(Number.MAX_SAFE_INTEGER);
  assert.deepEqual([[...map.keys()].length, [...networks.keys()].length], [1, 1]);
});

test("too many networks are refused, and what is in force stays", () => {
  const table = tableOf(new MemoryMap(), new MemoryMap(3));
  table.apply(egressBy(withNetworks("all", "10.0.0.0/8")), []);
  const before = table.wordOf(1);
  const more = egressBy(withNetworks("all", "10.0.0.0/8", "::/0"));
  assert.throws(() => table.apply(more, []), { code: "PolicyMapFull", message: /policyNetworks/ });
  assert.equal(table.wordOf(1), before);
});

test("networks of an earlier agent are under numbers that this one does not give", () => {
  const [map, networks] = [new MemoryMap(), new MemoryMap()];
  tableOf(map, networks).apply(egressBy(withNetworks("all", "10.0.0.0/8")), []);
  const table = tableOf(map, networks);
  table.apply(egressBy(withNetworks("all", "11.0.0.0/8")), []);
  const numbers = () => [...networks.keys()].map((key) => policyNetworkKey.decode(key).table);
  assert.equal(new Set(numbers()).size, 2);
  table.collect(Number.MAX_SAFE_INTEGER);
  assert.equal(numbers().length, 1);
});

test("entries of a write that failed are under numbers that nobody gets", () => {
  const map = new MemoryMap(8);
  const table = tableOf(map);
  const write = map.setMany.bind(map);
  map.setMany = (entries) => {
    write(entries.slice(0, 1));
    throw new Error("out of memory");
  };
  const inForce = (by: string) => new Map([...judgedBy(by), [2, judgedBy(`${by} too`).get(1)!]]);
  assert.throws(() => table.apply(inForce("first"), []), /out of memory/);
  const left = [...map.keys()];
  assert.equal(left.length, 1);
  map.setMany = write;
  table.apply(inForce("second"), []);
  const numbers = [...map.keys()].map((key) => policyTableKey.decode(key).set);
  assert.equal(new Set(numbers).size, numbers.length);
  table.collect(Number.MAX_SAFE_INTEGER);
  assert.equal([...map.keys()].length, 2);
});
