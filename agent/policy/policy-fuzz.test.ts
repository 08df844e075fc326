// SPDX-License-Identifier: Apache-2.0
// Objects as nobody would write them: they are refused with reasons, or mean something; nothing else happens.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { wholePolicies } from "./testing-broken-policies.ts";
import { brokenPolicyProperty } from "./testing-policy-properties.ts";
import { parsePolicy } from "./validate.ts";

test("the whole objects are valid", () => {
  for (const object of Object.values(wholePolicies))
    assert.deepEqual(parsePolicy(object as any).problems, []);
});

test("objects with odd parts are refused with reasons, or judged", () => {
  let used = 0;
  fc.assert(
    brokenPolicyProperty(() => used++),
    { numRuns: 3000 },
  );
  assert.ok(used > 30, `${used} were judged`);
});
