// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
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

test("what does not fit beside what is in force is refused, and that stays", () => {
  const table = tableOf(new MemoryMap(1));
  table.apply(judgedBy("first"), []);
  const before = table.wordOf(1);
  assert.throws(() => table.apply(judgedBy("second"), []), { code: "PolicyMapFull" });
  assert.equal(table.wordOf(1), before);
});
