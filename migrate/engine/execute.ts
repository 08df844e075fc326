// SPDX-License-Identifier: Apache-2.0
import { errorMessage } from "../../lib/errors.ts";
import { resourcePath } from "../../lib/kube.ts";
import type { PlannedNode, PlanPhase } from "../model/plan.ts";
import { stepAt, wavesOf } from "../plan/index.ts";
import { Paused } from "./control.ts";
import { undoNode } from "./rollback.ts";
import type { Outcome, Run } from "./run.ts";
import { runStep, StepFailed } from "./run-step.ts";

/** Runs every step that is not done, in the plan's order: waves one after another, the nodes of one at once. */
export async function execute(run: Run): Promise<Outcome> {
  const { journal } = run;
  try {
    // The plan grows when new nodes join: every phase is read when its turn comes.
    for (let index = 0; index < journal.plan.phases.length; index++) {
      const phase = journal.plan.phases[index]!;
      run.control.gate();
      run.options.onEvent({ event: "phase", message: phase.title });
      if (phase.nodes === undefined)
        for (const template of phase.steps) await runStep(run, stepAt(phase, template));
      else for (const wave of wavesOf(phase)) await runWave(run, phase, wave);
    }
    return { phase: "Completed", reason: "" };
  } catch (error) {
    return await stopped(run, error);
  }
}

async function runWave(run: Run, phase: PlanPhase, wave: PlannedNode[]): Promise<void> {
  const isDone = (node: PlannedNode): boolean =>
    phase.steps.every((template) =>
      ["done", "skipped"].includes(run.journal.stepState(stepAt(phase, template, node))),
    );
  const left = wave.filter((node) => !isDone(node));
  if (left.length === 0) return;
  run.control.gate();
  const results = await Promise.allSettled(
    left.map(async (node) => {
      try {
        await runNode(run, phase, node);
      } catch (error) {
        // The others of the wave stop at their next boundary.
        if (!(error instanceof Paused)) run.control.pause(errorMessage(error));
        throw error;
      }
    }),
  );
  const errors = results.flatMap((result) => (result.status === "rejected" ? [result.reason] : []));
  const [first] = [...errors.filter((error) => !(error instanceof Paused)), ...errors];
  if (first !== undefined) throw first;
  await run.journal.setState({ current: [] });
}

async function runNode(run: Run, phase: PlanPhase, node: PlannedNode): Promise<void> {
  const gone = (await run.kube.find(resourcePath("v1", "nodes", undefined, node.name))) === undefined;
  for (const template of phase.steps) {
    const step = stepAt(phase, template, node);
    const state = run.journal.stepState(step);
    if (state === "done" || state === "skipped") continue;
    if (!gone || template.kind === "remove-node") await runStep(run, step);
    else {
      const entry = { state: "skipped" as const, attempts: 0, message: "the node is gone from the cluster" };
      await run.journal.write(step, { ...entry, endedAt: new Date().toISOString() });
      run.options.onEvent({ event: "step", step, state: "skipped", message: entry.message });
    }
  }
}

async function stopped(run: Run, error: unknown): Promise<Outcome> {
  if (run.control.lost !== undefined) throw run.control.lost;
  if (error instanceof Paused) return { phase: "Paused", reason: error.message };
  if (!(error instanceof StepFailed)) throw error;
  const { node } = error.step;
  const reason = error.message;
  if (run.options.onNodeFailure !== "rollback" || node === undefined)
    return { phase: "Paused", reason, error };
  const undone = await undoNode(run, node, AbortSignal.timeout(1_800_000)).then(
    () => `node ${node} was rolled back`,
    (problem: unknown) => `node ${node} could not be rolled back: ${errorMessage(problem)}`,
  );
  return { phase: "Paused", reason: `${reason}; ${undone}`, error };
}
