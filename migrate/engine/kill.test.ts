// SPDX-License-Identifier: Apache-2.0
// Operators that are killed (SIGKILL) at every boundary of every step and in the middle of every apply and undo.
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, test } from "node:test";
import { run } from "../../lib/run.ts";
import { startTestApiServer, type TestApiServer } from "../../test/clusters/sandbox/apiserver/testing.ts";
import { formatPlanFile, makePlan, planSteps } from "../plan/index.ts";
import { sampleInventory } from "../plan/testing.ts";
import { readMigration, readStatus } from "./index.ts";
import { type Credentials, connectWith, createWorld, credentialsOf, readWorld } from "./testing.ts";

const plan = makePlan(sampleInventory(0));
const steps = planSteps(plan).map(({ name }) => name);
let server: TestApiServer;
let credentials: Credentials;
let kube: ReturnType<typeof connectWith>;
let initial: string;

/** Runs operators one after another, each killed at a point that is new, until one ends. */
async function runKilled(mode: "run" | "resume" | "rollback", seen: string[] = []): Promise<string> {
  const file = join(server.folder, "task.json");
  for (;;) {
    const begun = (await readStatus(kube).catch(() => undefined)) !== undefined;
    const again = mode === "run" && begun ? "resume" : mode;
    writeFileSync(file, JSON.stringify({ credentials, plan: formatPlanFile(plan), mode: again, seen }));
    const result = await run(
      process.execPath,
      [new URL("./testing-operator.ts", import.meta.url).pathname, file],
      { allowFailure: true, timeoutMs: 60_000 },
    );
    const killedAt = /^killed at (.*)$/m.exec(result.stdout)?.[1];
    if (killedAt === undefined) {
      assert.equal(result.exitCode, 0, result.stderr);
      return result.stdout.trim();
    }
    assert.ok(!seen.includes(killedAt));
    seen.push(killedAt);
  }
}

beforeEach(async () => {
  server = await startTestApiServer();
  credentials = credentialsOf(server.kubeconfig);
  kube = connectWith(credentials);
  await createWorld(kube, plan);
  initial = await readWorld(kube);
});
afterEach(async () => {
  kube?.close();
  await server?.stop();
});

const everywhere = (...boundaries: string[]): string[] =>
  steps.flatMap((step) => boundaries.map((boundary) => `${step} ${boundary}`)).sort();

test("killed at every boundary and in the middle of every apply, a migration ends the same", async () => {
  const seen: string[] = [];
  assert.equal(await runKilled("run", seen), "Completed");
  assert.deepEqual(seen.sort(), everywhere("recorded", "begun", "applying", "applied", "verified", "ended"));
  const finished = await readWorld(kube);
  assert.doesNotMatch(finished, /half/);
  const { state, steps: journal } = await readMigration(kube);
  assert.equal(state.phase, "Completed");
  assert.ok(journal.every(({ entry }) => entry.state === "done"));
  const status = await readStatus(kube);
  assert.deepEqual([status.current, status.cordoned], [[], []]);
});

test("killed at every boundary and in the middle of every undo, a rollback restores the first state", async () => {
  const all = everywhere("recorded", "begun", "applying", "applied", "verified", "ended");
  assert.equal(await runKilled("run", [...all, ...everywhere("undoing", "unmaking", "undone")]), "Completed");
  assert.notEqual(await readWorld(kube), initial);
  const seen: string[] = [];
  assert.equal(await runKilled("rollback", seen), "RolledBack");
  assert.deepEqual(seen.sort(), everywhere("undoing", "unmaking", "undone"));
  assert.equal(await readWorld(kube), initial);
});
