// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { canonicalQuantity, quantityNanos } from "./quantity.ts";

test("quantities take the form the API stores", () => {
  const cases: [string | number, string | undefined][] = [
    ["0.5", "500m"],
    ["1000m", "1"],
    ["1024Mi", "1Gi"],
    ["1.5Gi", "1536Mi"],
    ["0.1Ki", "102400m"],
    ["100M", "100M"],
    ["1e3", "1e3"],
    [2, "2"],
    ["0", "0"],
    ["-1.5", "-1500m"],
    ["1.5x", undefined],
    ["", undefined],
    ["1e999999999", undefined],
  ];
  for (const [given, expected] of cases) assert.equal(canonicalQuantity(given), expected, String(given));
});

test("quantities compare by value", () => {
  assert.equal(quantityNanos("1Gi"), quantityNanos("1024Mi"));
  assert.equal(quantityNanos("1500m"), quantityNanos("1.5"));
});
