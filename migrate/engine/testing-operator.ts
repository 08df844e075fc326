// SPDX-License-Identifier: Apache-2.0
// An operator that kills itself (SIGKILL) at the first point at which none before it was killed. Tests start it.
import { readFileSync, writeSync } from "node:fs";
import { parsePlanFile } from "../plan/index.ts";
import { defaultRunOptions, resumeMigration, rollbackMigration, startMigration } from "./index.ts";
import { connectWith, fakeKinds } from "./testing.ts";

const task = JSON.parse(readFileSync(process.argv[2]!, "utf8"));
const seen = new Set<string>(task.seen);
const plan = parsePlanFile(task.plan, "test");

const point = (name: string): void => {
  if (seen.has(name)) return;
  writeSync(1, `killed at ${name}\n`);
  process.kill(process.pid, "SIGKILL");
  // The signal may take a moment to arrive; nothing more may happen until then.
  for (;;);
};

const kube = connectWith(task.credentials);
const operator = {
  kube,
  kinds: fakeKinds(plan, (step, what) => point(`${step.name} ${what}`)),
  tools: { nodeTask: { run: async () => null } },
  signal: new AbortController().signal,
  lease: { durationSeconds: 2, renewMs: 200 },
  options: {
    ...defaultRunOptions,
    onBoundary: (boundary: string, step: { name: string }) => point(`${step.name} ${boundary}`),
  },
};
const work = {
  run: () => startMigration(operator, plan, "test"),
  resume: () => resumeMigration(operator),
  rollback: () => rollbackMigration(operator),
}[task.mode as "run" | "resume" | "rollback"];
const outcome = await work();
writeSync(1, `${outcome.phase} ${outcome.reason}\n`);
kube.close();
process.exit(0);
