// SPDX-License-Identifier: Apache-2.0
// An operator that kills itself (SIGKILL) at the first place at which none before it was killed. A test starts it with
// a file that holds a Task.
import { readFileSync, writeSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { connectKube } from "../../lib/kube-connect.ts";
import { defaultRunOptions, resumeMigration, startMigration } from "../../migrate/engine/index.ts";
import { createNodeTask } from "../../migrate/node-task/index.ts";
import { parsePlanFile } from "../../migrate/plan/index.ts";
import { probeControl, probeMonitor } from "../../migrate/probes/index.ts";
import { stepKinds } from "../../migrate/steps/index.ts";

export interface Task {
  kubeconfig: string;
  planFile: string;
  mode: "run" | "resume";
  /** Where operators were killed before: "in STEP" or "after STEP". */
  places: string[];
}

const task: Task = JSON.parse(readFileSync(process.argv[2]!, "utf8"));
const underWay = new Set<string>();
/** Applied, and not ended: a blow now could come after the end is written, where no operator would be killed again. */
const ending = new Set<string>();

const isNew = (place: string): boolean => !task.places.includes(place);

/** Places at which somebody waits to be killed. */
const waiting: string[] = [];

/** Kills this process while no step is ending, other than those that wait to be killed where they are. */
async function die(place: string): Promise<void> {
  waiting.push(place);
  while (ending.size > 0) await sleep(5);
  const places = new Set([...waiting, ...[...underWay].map((step) => `in ${step}`)]);
  for (const found of places) writeSync(1, `killed ${found}\n`);
  process.kill(process.pid, "SIGKILL");
  // The signal may take a moment to arrive; nothing more may happen until then.
  for (;;);
}
const kube = await connectKube({ kubeconfig: task.kubeconfig });
const signal = new AbortController().signal;
const operator = {
  kube,
  kinds: stepKinds,
  tools: { nodeTask: createNodeTask(kube), probes: probeControl(kube, { totalRate: 60 }) },
  monitor: probeMonitor(kube, signal, 0),
  signal,
  options: {
    ...defaultRunOptions,
    onBoundary: async (boundary: string, { name }: { name: string }) => {
      const inIt = `in ${name}`;
      const afterIt = `after ${name}`;
      if (boundary === "begun") {
        underWay.add(name);
        // While it is applied, at a different moment in each step; at the latest when it has been, unverified.
        if (isNew(inIt)) setTimeout(() => void die(inIt), (task.places.length * 37) % 250);
      }
      if (boundary === "applied") {
        if (isNew(inIt)) await die(inIt);
        ending.add(name);
      }
      if (boundary === "ended") {
        ending.delete(name);
        underWay.delete(name);
        if (isNew(afterIt)) await die(afterIt);
      }
    },
  },
};
const outcome =
  task.mode === "resume"
    ? await resumeMigration(operator)
    : await startMigration(
        operator,
        parsePlanFile(readFileSync(task.planFile, "utf8"), task.planFile),
        "killed",
      );
writeSync(1, `${outcome.phase} ${outcome.reason}\n`);
kube.close();
process.exit(0);
