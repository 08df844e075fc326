// SPDX-License-Identifier: Apache-2.0
// The steps of strategy new-cluster, run by the engine against an API server of ours.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import type { KubeClient } from "../../lib/kube.ts";
import { startTestApiServer, type TestApiServer } from "../../test/clusters/sandbox/apiserver/testing.ts";
import {
  defaultRunOptions,
  type Operator,
  readMigration,
  readStatus,
  resumeMigration,
  rollbackMigration,
  startMigration,
} from "../engine/index.ts";
import { connectWith, credentialsOf } from "../engine/testing.ts";
import type { Finding } from "../model/inventory.ts";
import type { NewCluster, NewClusterState } from "../model/tools.ts";
import { makePlan } from "../plan/index.ts";
import { sampleInventory } from "../plan/testing.ts";
import { stepKinds } from "./index.ts";

let server: TestApiServer;
let kube: KubeClient;
const plan = makePlan(sampleInventory(2), { strategy: "new-cluster" });

beforeEach(async () => {
  server = await startTestApiServer();
  kube = connectWith(credentialsOf(server.kubeconfig));
});

afterEach(async () => {
  kube.close();
  await server.stop();
});

const finding = (id: string): Finding => ({
  id,
  severity: "block",
  object: "X y",
  problem: "is bad",
  remedy: "",
});
const ready: NewClusterState = {
  ready: true,
  findings: [],
  summary: "12 objects are the same at https://new",
};
const blocked = (id: string): NewClusterState => ({ ready: false, findings: [finding(id)], summary: "" });

/** A new cluster that shows these states one after the other, the last for ever. */
const clusterOf = (states: NewClusterState[], changes: Partial<NewCluster> = {}): NewCluster => ({
  server: "https://new",
  cutOverDone: false,
  waitMs: 60_000,
  intervalMs: 1,
  compare: async () => (states.length > 1 ? states.shift() : states[0])!,
  ...changes,
});

const operator = (newCluster?: NewCluster): Operator => ({
  kube,
  kinds: stepKinds,
  tools: { nodeTask: { run: async () => null }, ...(newCluster === undefined ? {} : { newCluster }) },
  signal: new AbortController().signal,
  lease: { durationSeconds: 2, renewMs: 100 },
  options: { ...defaultRunOptions, retryMs: 10, watchMs: 20 },
});

test("waits for what is starting, asks for the cut-over, and ends when it was made", async () => {
  const starting = blocked("target-workload-not-ready");
  const first = await startMigration(operator(clusterOf([starting, starting, ready])), plan, "one");
  assert.equal(first.phase, "Paused");
  assert.equal(first.error, undefined);
  assert.match(
    first.reason,
    /move the traffic .* to https:\/\/new now, then: shunt migrate resume --cut-over-done/,
  );
  const asked = await resumeMigration(operator(clusterOf([ready])));
  assert.equal(asked.phase, "Paused");
  const last = await resumeMigration(operator(clusterOf([ready], { cutOverDone: true })));
  assert.deepEqual(last, { phase: "Completed", reason: "" });
  const { steps } = await readMigration(kube);
  assert.deepEqual(
    steps.map(({ step, entry }) => [step.name, entry.state]),
    [
      ["compare-clusters", "done"],
      ["cut-over", "done"],
    ],
  );
  assert.equal(steps[0]!.entry.message, ready.summary);
});

test("a difference pauses at once with exit code 3 and names it; resume goes on when it is mended", async () => {
  let looks = 0;
  const compare = async (): Promise<NewClusterState> => {
    looks++;
    return blocked("object-missing");
  };
  const cluster = clusterOf([], { compare });
  const outcome = await startMigration(operator(cluster), plan, "one");
  assert.equal(outcome.phase, "Paused");
  assert.equal(outcome.error?.exitCode, 3);
  assert.match(outcome.reason, /the new cluster at https:\/\/new is not ready:\n {2}- X y is bad/);
  assert.equal(looks, 1);
  const done = await resumeMigration(operator(clusterOf([ready], { cutOverDone: true })));
  assert.equal(done.phase, "Completed");
});

test("what does not start in time pauses too", async () => {
  const cluster = clusterOf([blocked("target-workload-not-ready")], { waitMs: 30 });
  const outcome = await startMigration(operator(cluster), plan, "one");
  assert.equal(outcome.error?.exitCode, 3);
});

test("without a new cluster it says which flag names one; rollback has nothing to undo", async () => {
  const outcome = await startMigration(operator(), plan, "one");
  assert.match(outcome.reason, /no new cluster was named/);
  assert.match(outcome.error?.remedy ?? "", /--target-context/);
  assert.equal((await rollbackMigration(operator())).phase, "RolledBack");
  assert.equal((await readStatus(kube)).phase, "RolledBack");
});
