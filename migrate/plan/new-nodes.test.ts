// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { makePlan, planSteps, wavesOf, withNewNodes } from "./index.ts";
import { sampleInventory } from "./testing.ts";

const plan = makePlan(sampleInventory(2), { strategy: "blue-green" });

test("new nodes join one wave after another, and are cleaned together with what stays", () => {
  const grown = withNewNodes(plan, ["new-1", "new-2"]);
  const wavesIn = (phase: string): string[][] =>
    wavesOf(grown.phases.find(({ name }) => name === phase)!).map((wave) => wave.map(({ name }) => name));
  assert.deepEqual(wavesIn("new-nodes"), [["new-1"], ["new-2"]]);
  assert.deepEqual(wavesIn("kube-proxy-rules"), [["control-plane", "new-1", "new-2"]]);
  assert.deepEqual(wavesIn("residue"), [["control-plane", "new-1", "new-2"]]);
  assert.deepEqual(wavesIn("workers"), [["worker-2"]]);
  const names = planSteps(grown).map(({ name }) => name);
  assert.equal(new Set(names).size, names.length);
  assert.ok(names.includes("verify-residue/new-2"));
});

test("nodes that are known already are not added again, and the plan itself stays as it was", () => {
  const once = withNewNodes(plan, ["new-1"]);
  assert.deepEqual(planSteps(withNewNodes(once, ["new-1"])), planSteps(once));
  assert.ok(!planSteps(plan).some(({ node }) => node === "new-1"));
  assert.deepEqual(planSteps(withNewNodes(plan, [])), planSteps(plan));
});
