// SPDX-License-Identifier: Apache-2.0
import { errorMessage, ShuntError } from "../../lib/errors.ts";
import { sleep } from "../../lib/wait.ts";
import type { JournalEntry } from "../model/journal.ts";
import type { PlanStep } from "../model/plan.ts";
import type { StepKind } from "../step-kind.ts";
import { Paused } from "./control.ts";
import { contextOf, kindOf, type Run, write } from "./run.ts";

/** A step that failed for good: the run pauses. */
export class StepFailed extends ShuntError {
  readonly step: PlanStep;
  constructor(step: PlanStep, cause: unknown, verb = "failed") {
    const remedy = cause instanceof ShuntError ? cause.remedy : undefined;
    super(`${step.name} ${verb}: ${errorMessage(cause)}`, {
      code: "StepFailed",
      cause,
      ...(cause instanceof ShuntError && cause.code === "NotReady" ? { exitCode: cause.exitCode } : {}),
      ...(remedy === undefined ? {} : { remedy }),
    });
    this.name = "StepFailed";
    this.step = step;
  }
}

/** Code of the error by which a step says that people have to do something first: the run pauses, nothing failed. */
const waitsForOperator = "WaitsForOperator";

const now = (): string => new Date().toISOString();

/** Runs one step to its end, from wherever an earlier operator left it. */
export async function runStep(run: Run, step: PlanStep): Promise<void> {
  const { journal, options } = run;
  const state = journal.stepState(step);
  if (state === "done" || state === "skipped") return;
  run.control.gate();
  const kind = kindOf(run, step);
  const started = Date.now();
  const entry = await begin(run, step, kind).catch((error: unknown) => {
    throw run.control.signal.aborted ? error : new StepFailed(step, error, "could not begin");
  });
  if (entry === undefined) return;
  const current = { entry };
  for (;;) {
    const failure = await attempt(run, step, kind, current, started);
    if (failure === undefined) return;
    run.failures++;
    const isLast = failure.final || run.failures > options.errorBudget;
    current.entry = {
      ...current.entry,
      state: "failed",
      endedAt: now(),
      message: errorMessage(failure.error),
    };
    await write(run, step, current.entry);
    options.onEvent({ event: "step", step, state: "failed", message: errorMessage(failure.error) });
    run.events.write("Warning", "StepFailed", `${step.name}: ${errorMessage(failure.error)}`, step.node);
    if (isLast) throw new StepFailed(step, failure.error);
    await sleep(options.retryMs, run.control.signal).catch(() => undefined);
    run.control.gate();
    const { endedAt: _, ...rest } = current.entry;
    current.entry = { ...rest, state: "running", attempts: rest.attempts + 1 };
    await write(run, step, current.entry);
  }
}

/** Writes that the step is about to change things, and how they were. Undefined: there is nothing to do. */
async function begin(run: Run, step: PlanStep, kind: StepKind): Promise<JournalEntry | undefined> {
  const { journal, options, control } = run;
  await run.lease.assertHeld(control.signal, options.apiDeadlineMs);
  let entry = journal.entry(step);
  if (entry.state === "undoing")
    throw new ShuntError("its undo was interrupted", {
      remedy: "Finish it first: shunt migrate rollback, with --node for one node.",
    });
  const isFirst = entry.state === "pending" || entry.state === "undone";
  if (isFirst) {
    const fresh: JournalEntry = { state: "running", attempts: 0 };
    const context = contextOf(run, step, { entry: fresh }, control.signal);
    const why = await kind.check(context);
    if (why !== undefined) {
      await write(run, step, { state: "skipped", attempts: 0, endedAt: now(), message: why });
      options.onEvent({ event: "step", step, state: "skipped", message: why });
      return undefined;
    }
    const before = (await kind.record?.(context)) ?? null;
    entry = { ...fresh, before, startedAt: now() };
    await options.onBoundary?.("recorded", step);
  }
  const { endedAt: _, ...rest } = entry;
  entry = { ...rest, state: "running", attempts: entry.attempts + 1 };
  await write(run, step, entry);
  options.onEvent({ event: "step", step, state: "running", message: step.title });
  await options.onBoundary?.("begun", step);
  return entry;
}

interface Failure {
  error: unknown;
  /** No further attempt would help: what was applied does not work. */
  final: boolean;
}

async function attempt(
  run: Run,
  step: PlanStep,
  kind: StepKind,
  current: { entry: JournalEntry },
  started: number,
): Promise<Failure | undefined> {
  const { options, control } = run;
  const context = contextOf(run, step, current, control.signal);
  let isApplied = false;
  try {
    const outcome = await kind.apply(context);
    isApplied = true;
    await options.onBoundary?.("applied", step);
    const verified = await kind.verify(context);
    await options.onBoundary?.("verified", step);
    const message = [outcome, verified].filter((text) => text !== undefined && text !== "").join("; ");
    current.entry = { ...current.entry, state: "done", endedAt: now(), message };
  } catch (error) {
    if (control.lost !== undefined) throw control.lost;
    if (control.signal.aborted) throw await undoInterrupted(run, step, kind, current);
    if (error instanceof ShuntError && error.code === waitsForOperator) {
      current.entry = { ...current.entry, message: error.message };
      await write(run, step, current.entry);
      throw new Paused(error.message);
    }
    return { error, final: isApplied };
  }
  await write(run, step, current.entry);
  options.onEvent({
    event: "step",
    step,
    state: "done",
    message: current.entry.message ?? "",
    durationMs: Date.now() - started,
  });
  run.events.write("Normal", "StepDone", `${step.name}: ${current.entry.message}`, step.node);
  await options.onBoundary?.("ended", step);
  return undefined;
}

/** A step that did not end within the grace of a pause is undone. What the journal then says is always true. */
async function undoInterrupted(
  run: Run,
  step: PlanStep,
  kind: StepKind,
  current: { entry: JournalEntry },
): Promise<Paused> {
  const reason = run.control.reason ?? "interrupted";
  const context = contextOf(run, step, current, AbortSignal.timeout(60_000));
  try {
    await kind.undo(context);
    await write(run, step, {
      state: "undone",
      attempts: current.entry.attempts,
      endedAt: now(),
      message: reason,
    });
    run.options.onEvent({
      event: "step",
      step,
      state: "undone",
      message: `stopped in the middle: ${reason}`,
    });
  } catch (error) {
    // It stays "running" in the journal, and the next operator runs it again.
    run.options.onEvent({ event: "trouble", step, message: `could not be undone: ${errorMessage(error)}` });
  }
  return new Paused(reason);
}
