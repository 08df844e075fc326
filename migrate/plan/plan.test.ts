// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Inventory } from "../model/inventory.ts";
import {
  comparePlan,
  formatPlan,
  formatPlanFile,
  makePlan,
  parsePlanFile,
  planHash,
  planSteps,
  requireFreshPlan,
  wavesOf,
} from "./index.ts";
import { sampleInventory } from "./testing.ts";

const phaseNames = (inventory: Inventory, options: Parameters<typeof makePlan>[1] = {}): string[] =>
  makePlan(inventory, options).phases.map(({ name }) => name);

test("the canary goes alone, workers in waves, control planes last and one at a time", () => {
  const plan = makePlan(sampleInventory(6), { maxUnavailable: 2 });
  const waves = plan.phases
    .filter(({ name }) => ["canary", "workers", "control-planes"].includes(name))
    .flatMap(wavesOf)
    .map((wave) => wave.map(({ name }) => name));
  assert.deepEqual(waves, [
    ["worker-1"],
    ["worker-2", "worker-3"],
    ["worker-4", "worker-5"],
    ["worker-6"],
    ["control-plane"],
  ]);
});

test("a node that is in trouble already is no canary", () => {
  const inventory = sampleInventory(2);
  inventory.nodes[1]!.ready = false;
  assert.equal(makePlan(inventory).phases.find(({ name }) => name === "canary")!.nodes![0]!.name, "worker-2");
});

test("each step is named once, and every node is switched and cleaned", () => {
  const steps = planSteps(makePlan(sampleInventory(3)));
  const names = steps.map(({ name }) => name);
  assert.equal(new Set(names).size, names.length);
  for (const kind of ["cordon", "activate", "uncordon", "remove-kube-proxy-rules", "verify-residue"])
    assert.equal(steps.filter((step) => step.kind === kind).length, 4, kind);
  assert.ok(names.indexOf("services-handover") > names.indexOf("uncordon/control-plane"));
  assert.equal(names.filter((name) => !name.includes("/")).at(-2), "finish");
});

test("strategies plan what they need", () => {
  const inventory = sampleInventory(2);
  assert.deepEqual(phaseNames(inventory, { strategy: "kube-proxy-only" }), [
    ...["prepare", "services", "kube-proxy-rules", "finish", "open-connections"],
  ]);
  assert.deepEqual(phaseNames(inventory, { strategy: "new-cluster" }), ["compare", "cut-over"]);
  assert.ok(phaseNames(inventory, { strategy: "blue-green" }).includes("new-group"));
  const none = { ...inventory.kubeProxy, form: "none" as const };
  assert.ok(!phaseNames({ ...inventory, kubeProxy: none }).includes("services"));
  assert.ok(!phaseNames(inventory, { removeOldNetwork: false }).includes("residue"));
});

test("nothing to migrate is said, with exit code 3", () => {
  const inventory = sampleInventory(2);
  const done = { ...inventory, network: { ...inventory.network, kind: "shunt" as const } };
  assert.throws(() => makePlan(done), { exitCode: 3, message: /Shunt's already/ });
  const gone = { ...inventory, kubeProxy: { ...inventory.kubeProxy, disabled: true } };
  assert.throws(() => makePlan(gone, { strategy: "kube-proxy-only" }), { exitCode: 3 });
  assert.throws(() => makePlan(inventory, { maxUnavailable: 0 }), /maxUnavailable is 0/);
});

test("the file says the same as the plan, and what is no plan is refused", () => {
  const plan = makePlan(sampleInventory(3));
  const file = formatPlanFile(plan);
  assert.equal(planHash(parsePlanFile(file, "plan.yaml")), planHash(plan));
  assert.match(formatPlan(plan), /wave 1: worker-1/);
  const refused: [string, RegExp][] = [
    ["[", /not YAML/],
    ["a: 1", /not a plan/],
    [file.replace("kind: drain", "kind: reboot"), /phases\/1\/steps\/1\/kind/],
    [file.replace("maxUnavailable: 1", "maxUnavailable: 0"), /maxUnavailable/],
    [file.replace("kind: drain", "kind: cordon"), /occurs twice/],
    [file.replace("name: worker-2", "name: ../etc"), /pattern/],
  ];
  for (const [content, problem] of refused)
    assert.throws(() => parsePlanFile(content, "plan.yaml"), { message: problem, exitCode: 2 });
});

test("a plan fits until something that it rests on changes", () => {
  const plan = makePlan(sampleInventory(2));
  assert.deepEqual(comparePlan(plan, sampleInventory(2, { takenAt: "later" })), []);
  const now = sampleInventory(3);
  now.network = { ...now.network, mtu: 8950 };
  now.nodes = now.nodes.filter(({ name }) => name !== "worker-1");
  assert.deepEqual(comparePlan(plan, now), [
    { what: "network.mtu", planned: "1450", now: "8950" },
    { what: "Node worker-1", planned: "there", now: "nothing" },
    { what: "Node worker-3", planned: "nothing", now: "there" },
  ]);
  assert.throws(() => requireFreshPlan(plan, now), {
    code: "StalePlan",
    exitCode: 3,
    message: /mtu: planned/,
  });
  assert.match(comparePlan(plan, sampleInventory(2, { clusterUid: "other" }))[0]!.what, /cluster/);
});

test("5,000 nodes are planned at once, into a file that a person can hold", () => {
  const plan = makePlan(sampleInventory(5000), { maxUnavailable: 50 });
  const file = formatPlanFile(plan);
  assert.ok(file.length < 4 * 1024 * 1024, `${file.length} bytes`);
  assert.equal(parsePlanFile(file, "plan.yaml").basis.nodes.length, 5001);
  const oneByOne = makePlan(sampleInventory(5000), { maxUnavailable: 1 });
  assert.ok(oneByOne.expectedSeconds > 20 * plan.expectedSeconds);
});
