// SPDX-License-Identifier: Apache-2.0
import type { KubeClient } from "../../lib/kube.ts";
import type { JournalEntry, MigrationStatus } from "../model/journal.ts";
import type { PlanStep } from "../model/plan.ts";
import { Journal, type MigrationState } from "./journal.ts";
import { leaseHolder } from "./lease.ts";
import { findMigration } from "./operate.ts";

/** All that a journal holds. */
export interface MigrationRecord {
  name: string;
  plan: Journal["plan"];
  state: MigrationState;
  steps: { step: PlanStep; entry: JournalEntry }[];
}

/** Reads a migration with every step; the newest when none is named. */
export async function readMigration(kube: KubeClient, name?: string): Promise<MigrationRecord> {
  const journal = await Journal.open(kube, await findMigration(kube, name));
  const steps = journal.steps.map((step) => ({ step, entry: journal.entry(step) }));
  return { name: journal.name, plan: journal.plan, state: journal.state, steps };
}

/** How far a migration is. */
export async function readStatus(kube: KubeClient, name?: string): Promise<MigrationStatus> {
  const [record, holder] = await Promise.all([readMigration(kube, name), leaseHolder(kube)]);
  return statusOf(record, holder);
}

/** The summary of a record. */
export function statusOf({ name, plan, state, steps }: MigrationRecord, holder: string): MigrationStatus {
  const isOver = ["Completed", "RolledBack"].includes(state.phase);
  // An operator that was killed could not say so.
  const isOrphan = ["Running", "RollingBack"].includes(state.phase) && holder === "";
  const count = (...states: JournalEntry["state"][]) =>
    steps.filter(({ entry }) => states.includes(entry.state)).length;
  const nodes = new Set(steps.flatMap(({ step }) => step.node ?? []));
  const switched = steps.filter(({ step, entry }) => step.kind === "verify-node" && entry.state === "done");
  const { startedAt, endedAt } = state;
  return {
    name,
    phase: isOrphan ? "Paused" : state.phase,
    reason: isOrphan ? "its operator is gone" : state.reason,
    strategy: plan.options.strategy,
    ...(startedAt === undefined ? {} : { startedAt }),
    ...(endedAt === undefined ? {} : { endedAt }),
    steps: { total: steps.length, done: count("done", "skipped"), failed: count("failed") },
    nodes: { total: nodes.size, switched: switched.length },
    current: steps
      .filter(({ entry }) => ["running", "failed", "undoing"].includes(entry.state))
      .map(({ step }) => step.name),
    cordoned: cordonedBy(steps),
    holder: isOver ? "" : holder,
  };
}

function cordonedBy(steps: MigrationRecord["steps"]): string[] {
  const cordoned = new Set<string>();
  for (const { step, entry } of steps) {
    if (step.node === undefined) continue;
    const isOn = ["running", "done", "failed", "undoing"].includes(entry.state);
    if (step.kind === "cordon" && isOn) cordoned.add(step.node);
    const lifts = step.kind === "uncordon" || step.kind === "remove-node";
    if (lifts && ["done", "skipped"].includes(entry.state)) cordoned.delete(step.node);
  }
  return [...cordoned];
}
