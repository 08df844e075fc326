// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { formatSimulations, makePlan, planSteps, simulateConcurrencies, simulateRun } from "./index.ts";
import { sampleInventory } from "./testing.ts";

test("a simulated run takes what the plan expects, each phase after the one before", () => {
  const plan = makePlan(sampleInventory(9), { maxUnavailable: 3 });
  const { expectedSeconds, phases, steps } = simulateRun(plan);
  assert.ok(Math.abs(expectedSeconds - plan.expectedSeconds) <= 1);
  assert.equal(steps, planSteps(plan).length);
  for (const [index, phase] of phases.slice(1).entries())
    assert.ok(Math.abs(phase.startSeconds - phases[index]!.startSeconds - phases[index]!.seconds) <= 1);
  assert.equal(phases.at(-1)!.name, "open-connections");
});

test("a node with more pods makes its wave longer, and no other", () => {
  const inventory = sampleInventory(4);
  const before = simulateRun(makePlan(inventory, { maxUnavailable: 3 }));
  inventory.nodes.at(-1)!.networkedPods += 100;
  const after = simulateRun(makePlan(inventory, { maxUnavailable: 3 }));
  assert.equal(after.expectedSeconds - before.expectedSeconds, 150);
});

test("more nodes at once take fewer waves and less time; control planes stay alone", () => {
  const simulations = simulateConcurrencies(sampleInventory(40), { maxUnavailable: 7 });
  assert.deepEqual(
    simulations.map(({ maxUnavailable }) => maxUnavailable),
    [1, 2, 5, 7, 10, 20],
  );
  for (const [index, { expectedSeconds }] of simulations.slice(1).entries())
    assert.ok(expectedSeconds < simulations[index]!.expectedSeconds);
  const workers = simulations[3]!.phases.find(({ name }) => name === "workers")!;
  assert.equal(workers.waves, Math.ceil(39 / 7));
  assert.equal(simulations[5]!.phases.find(({ name }) => name === "control-planes")!.waves, 1);
  const text = formatSimulations(simulations, 7);
  assert.match(text, /^ +7 +\d+ +\d+ min {2}as asked for$/m);
  assert.match(text, /41 nodes, \d+ steps, 7 at once/);
});
