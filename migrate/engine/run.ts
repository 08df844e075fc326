// SPDX-License-Identifier: Apache-2.0
import type { ShuntError } from "../../lib/errors.ts";
import type { JournalEntry, Json, MigrationPhase, StepState } from "../model/journal.ts";
import type { PlanStep } from "../model/plan.ts";
import type { Monitor } from "../model/tools.ts";
import type { StepContext, StepKind, StepKinds, StepTools } from "../step-kind.ts";
import type { Control } from "./control.ts";
import type { EventWriter } from "./events.ts";
import type { Journal } from "./journal.ts";
import type { Lease } from "./lease.ts";
import type { RetryingKube } from "./retrying-kube.ts";

/** Places at which a test may kill the operator. */
export type Boundary = "recorded" | "begun" | "applied" | "verified" | "ended" | "undoing" | "undone";

/** What is told about a run, as it happens. */
export interface RunEvent {
  event: "phase" | "step" | "progress" | "trouble" | "pausing";
  step?: PlanStep;
  state?: StepState;
  message: string;
  durationMs?: number;
}

export interface RunOptions {
  /** Failed attempts that the whole run may have before it pauses. */
  errorBudget: number;
  /** Milliseconds between two attempts. */
  retryMs: number;
  /** Milliseconds for which the API server may be away. */
  apiDeadlineMs: number;
  /** Milliseconds that steps under way may go on after a pause. */
  pauseGraceMs: number;
  /** Milliseconds between two looks at the monitor and at the wish to pause. */
  watchMs: number;
  /** What to do with the node whose switch failed, before pausing. */
  onNodeFailure: "pause" | "rollback";
  onEvent: (event: RunEvent) => void;
  /** For tests: called at each boundary of each step. */
  onBoundary?: (boundary: Boundary, step: PlanStep) => void | Promise<void>;
}

/** How a run ended. */
export interface Outcome {
  phase: MigrationPhase;
  reason: string;
  /** What made it stop, unless that was asked for. */
  error?: ShuntError;
}

/** Everything that a run works with. */
export interface Run {
  kube: RetryingKube;
  journal: Journal;
  lease: Lease;
  control: Control;
  kinds: StepKinds;
  tools: StepTools;
  monitor: Monitor | undefined;
  events: EventWriter;
  options: RunOptions;
  /** Failed attempts so far. */
  failures: number;
}

/** Writes to the journal, if the lease is still ours. */
export async function write(run: Run, step: PlanStep, entry: JournalEntry): Promise<void> {
  await run.lease.assertHeld(AbortSignal.any([]), run.options.apiDeadlineMs);
  await run.journal.write(step, entry);
  run.monitor?.stepChanged?.(step, entry.state);
}

export function kindOf(run: Run, step: PlanStep): StepKind {
  const kind = run.kinds[step.kind];
  if (kind === undefined) throw new Error(`this version has no step "${step.kind}"`);
  return kind;
}

/** The context of a step; `current` is the entry as it stands, and grows by what the step remembers. */
export function contextOf(
  run: Run,
  step: PlanStep,
  current: { entry: JournalEntry },
  signal: AbortSignal,
): StepContext {
  const { journal } = run;
  return {
    kube: run.kube.with({ signal }),
    plan: journal.plan,
    migration: journal.name,
    step,
    signal,
    tools: run.tools,
    get before(): Json {
      return current.entry.before ?? null;
    },
    get notes() {
      return current.entry.notes ?? {};
    },
    async remember(notes) {
      current.entry = { ...current.entry, notes: { ...current.entry.notes, ...notes } };
      await write(run, step, current.entry);
    },
    nodes() {
      const switched = journal.switchedNodes();
      const known = new Set(switched);
      const begun = new Set(
        journal.steps
          .filter(
            (other) => other.kind === "cordon" && !["pending", "undone"].includes(journal.stepState(other)),
          )
          .map(({ node }) => node),
      );
      const old = journal.plan.basis.nodes
        .map(({ name }) => name)
        .filter((name) => !known.has(name) && !begun.has(name));
      return { old, switched };
    },
    endedAt(kind) {
      const done = journal.steps.find((other) => other.kind === kind && other.node === undefined);
      return done === undefined ? undefined : journal.entry(done).endedAt;
    },
    report: (message) => run.options.onEvent({ event: "progress", step, message }),
  };
}
