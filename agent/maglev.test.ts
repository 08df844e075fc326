// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { maglevSize, maglevTable } from "./maglev.ts";

const backends = (count: number, weight: (index: number) => number = () => 1) =>
  Array.from({ length: count }, (_, index) => ({
    name: `10.${index >> 8}.${index & 255}.7 8080`,
    weight: weight(index),
  }));
const shares = (table: Uint16Array): Map<number, number> => {
  const found = new Map<number, number>();
  for (const index of table) found.set(index, (found.get(index) ?? 0) + 1);
  return found;
};

test("a table is four hundred times as large as what it leads to, as far as it goes", () => {
  assert.deepEqual([0, 1, 2, 10, 100, 10_000].map(maglevSize), [0, 0, 1021, 4093, 65_521, 65_521]);
});

test("at most 2 % of the entries change when one of 100 backends goes", () => {
  const before = backends(100);
  const size = maglevSize(100);
  const table = maglevTable(before, size);
  for (const gone of [0, 50, 99]) {
    const after = before.toSpliced(gone, 1);
    assert.equal(maglevSize(99), size);
    const next = maglevTable(after, size);
    const moved = table.filter((index, entry) => before[index] !== after[next[entry]!]).length;
    assert.ok(moved <= 0.02 * size, `${moved} of ${size}`);
  }
});

test("each gets its share, to a few per cent, whatever the order in the list", () => {
  const list = backends(50);
  const table = maglevTable(list, maglevSize(50));
  for (const count of shares(table).values()) assert.ok(Math.abs(count / (table.length / 50) - 1) < 0.05);
  assert.deepEqual(table, maglevTable(backends(50), maglevSize(50)));
});

test("weights share the entries out, and 0 gets none", () => {
  const table = maglevTable(
    backends(4, (index) => [3, 1, 0, 2][index]!),
    maglevSize(4),
  );
  const found = shares(table);
  assert.equal(found.get(2), undefined);
  for (const [index, share] of [
    [0, 3 / 6],
    [1, 1 / 6],
    [3, 2 / 6],
  ] as const)
    assert.ok(Math.abs(found.get(index)! / table.length - share) < 0.01);
});

test("all of weight 0 are all the same", () => {
  const found = shares(
    maglevTable(
      backends(2, () => 0),
      maglevSize(2),
    ),
  );
  assert.ok(Math.abs(found.get(0)! - found.get(1)!) <= 1);
});

test("10,000 backends each have entries", () => {
  assert.equal(shares(maglevTable(backends(10_000), maglevSize(10_000))).size, 10_000);
});
