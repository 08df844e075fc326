// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { policyTableKey } from "../datapath-layout.ts";
import type { CompiledDirection } from "./compile.ts";
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
const tableOf = (policyTables: MemoryMap) =>
  new PolicyTable({
    policyTables,
    policyOf: new MemoryMap(),
    policyPorts: new MemoryMap(),
    policyPrefixes: new MemoryMap(),
  });

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
