// SPDX-License-Identifier: Apache-2.0
import { errorMessage, ShuntError } from "../../lib/errors.ts";
import { type KubeClient, resourcePath } from "../../lib/kube.ts";
import { sleep } from "../../lib/wait.ts";
import type { PlannedNode, PlanPhase, PlanStep } from "../model/plan.ts";
import { stepAt, wavesOf } from "../plan/index.ts";
import { Paused } from "./control.ts";
import type { Journal } from "./journal.ts";
import { contextOf, kindOf, type Outcome, type Run, write } from "./run.ts";

const attempts = 3;

/** Throws when nodes that the first state needs were removed from the cluster; nothing is undone then. */
export async function requireWayBack(kube: KubeClient, journal: Journal): Promise<void> {
  const removed = journal.steps.filter(
    (step) => step.kind === "remove-node" && !["pending", "undone"].includes(journal.stepState(step)),
  );
  if (removed.length === 0) return;
  const { items } = await kube.list(resourcePath("v1", "nodes"));
  const there = new Set(items.map(({ metadata }) => metadata.name));
  const gone = removed.map(({ node }) => node!).filter((node) => !there.has(node));
  if (gone.length === 0) return;
  throw new ShuntError(
    `There is no way back: ${gone.slice(0, 5).join(", ")}${gone.length > 5 ? ` and ${gone.length - 5} more` : ""} were removed from the cluster`,
    {
      code: "Blocked",
      exitCode: 3,
      remedy:
        "Nothing was changed. Go on with shunt migrate resume; or join nodes of these names on the old network, and roll back then.",
    },
  );
}

/** Undoes every step that was begun, the last one first. */
export async function rollBack(run: Run): Promise<Outcome> {
  const { signal } = run.control;
  try {
    for (const phase of [...run.journal.plan.phases].reverse()) {
      run.control.gate();
      if (phase.nodes === undefined)
        for (const template of [...phase.steps].reverse())
          await undoStep(run, stepAt(phase, template), signal);
      else for (const wave of wavesOf(phase).reverse()) await undoWave(run, phase, wave, signal);
    }
    return { phase: "RolledBack", reason: "" };
  } catch (error) {
    if (run.control.lost !== undefined) throw run.control.lost;
    if (error instanceof Paused) return { phase: "Paused", reason: error.message };
    const reason = `rollback stopped: ${errorMessage(error)}`;
    const remedy = "Mend what is named and run shunt migrate rollback again; it goes on where it stopped.";
    return {
      phase: "Paused",
      reason,
      error: new ShuntError(reason, { code: "RollbackFailed", remedy, cause: error }),
    };
  }
}

/** Undoes one node's switch, the last step first; the rest of the migration stays. */
export async function undoNode(run: Run, node: string, signal: AbortSignal): Promise<void> {
  for (const phase of [...run.journal.plan.phases].reverse()) {
    const planned = phase.nodes?.find(({ name }) => name === node);
    if (planned !== undefined) await undoInPhase(run, phase, planned, signal);
  }
}

async function undoWave(run: Run, phase: PlanPhase, wave: PlannedNode[], signal: AbortSignal): Promise<void> {
  const results = await Promise.allSettled(wave.map((node) => undoInPhase(run, phase, node, signal)));
  for (const result of results) if (result.status === "rejected") throw result.reason;
}

async function undoInPhase(
  run: Run,
  phase: PlanPhase,
  node: PlannedNode,
  signal: AbortSignal,
): Promise<void> {
  const steps = phase.steps.map((template) => stepAt(phase, template, node)).reverse();
  const begun = steps.filter((step) => isBegun(run, step));
  if (begun.length === 0) return;
  const isThere = (await run.kube.find(resourcePath("v1", "nodes", undefined, node.name))) !== undefined;
  for (const step of begun)
    if (isThere) await undoStep(run, step, signal);
    else
      await write(run, step, { state: "undone", attempts: 0, message: "the node is gone from the cluster" });
}

const isBegun = (run: Run, step: PlanStep): boolean =>
  ["running", "done", "failed", "undoing"].includes(run.journal.stepState(step));

async function undoStep(run: Run, step: PlanStep, signal: AbortSignal): Promise<void> {
  const { journal, options } = run;
  if (!isBegun(run, step)) return;
  const entry = journal.entry(step);
  if (run.control.lost !== undefined) throw run.control.lost;
  signal.throwIfAborted();
  await run.lease.assertHeld(signal, options.apiDeadlineMs);
  const current = { entry: { ...entry, state: "undoing" as const } };
  await write(run, step, current.entry);
  options.onEvent({ event: "step", step, state: "undoing", message: step.title });
  await options.onBoundary?.("undoing", step);
  const message = await undoWithRetries(run, step, current, signal);
  const endedAt = new Date().toISOString();
  await write(run, step, { state: "undone", attempts: entry.attempts, endedAt, message });
  options.onEvent({ event: "step", step, state: "undone", message });
  run.events.write("Normal", "StepUndone", `${step.name}: ${message}`, step.node);
  await options.onBoundary?.("undone", step);
}

async function undoWithRetries(
  run: Run,
  step: PlanStep,
  current: Parameters<typeof contextOf>[2],
  signal: AbortSignal,
): Promise<string> {
  for (let attempt = 1; ; attempt++) {
    try {
      return (await kindOf(run, step).undo(contextOf(run, step, current, signal))) ?? "";
    } catch (error) {
      if (run.control.lost !== undefined) throw run.control.lost;
      if (signal.aborted && run.control.reason !== undefined) throw new Paused(run.control.reason);
      run.options.onEvent({ event: "trouble", step, message: `undo: ${errorMessage(error)}` });
      if (attempt >= attempts)
        throw new ShuntError(`${step.name} could not be undone: ${errorMessage(error)}`, { cause: error });
      await sleep(run.options.retryMs, signal);
    }
  }
}
