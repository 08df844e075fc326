// SPDX-License-Identifier: Apache-2.0
import { ShuntError } from "../../lib/errors.ts";
import type { KubeClient } from "../../lib/kube.ts";
import type { KubeTarget } from "../../lib/kube-connect.ts";
import { progressStyle } from "../../lib/steps.ts";
import type { Operator, Outcome, RunEvent } from "../../migrate/engine/index.ts";
import type { Plan } from "../../migrate/model/plan.ts";
import type { CliEnv } from "./env.ts";
import { requireProvider } from "./migrate-provider.ts";
import { migrationTools } from "./migrate-tools.ts";
import type { OperateFlags } from "./operate-flags.ts";
import { writeReports } from "./report-files.ts";
import { lineDisplay, runDisplay } from "./run-display.ts";

/** Where the plan is that a run follows. One that goes backwards is shown line by line. */
export type PlanSource =
  | {
      plan: Plan;
      /** The cluster goes with the run: who interrupts does not wait for it to stop in good order. */
      abandon?: true;
    }
  | "of-journal"
  | "backwards";

/** Runs steps with the tools that they need, and shows each as it goes. The reports are written in the end. */
export async function runShown(
  env: CliEnv,
  kube: KubeClient,
  flags: Omit<OperateFlags, keyof KubeTarget>,
  source: PlanSource,
  work: (operator: Operator) => Promise<Outcome>,
): Promise<Outcome> {
  const { defaultRunOptions, readMigration } = await import("../../migrate/engine/index.ts");
  const { stepKinds } = await import("../../migrate/steps/index.ts");
  const plan =
    typeof source === "object"
      ? source.plan
      : source === "of-journal"
        ? await readMigration(kube, flags.name).then(
            (record) => record.plan,
            () => undefined,
          )
        : undefined;
  const style = progressStyle(env.stdout, env.env, flags.output);
  const display =
    plan === undefined
      ? lineDisplay(env.stdout, style === "live" ? "lines" : style)
      : await runDisplay(env.stdout, style, plan);
  let isShown = true;
  const onEvent = (event: RunEvent): void => {
    if (isShown) display.onEvent(event);
  };
  const { tools, monitor, close } = await migrationTools(env, kube, flags);
  const options = {
    ...defaultRunOptions,
    errorBudget: flags.errorBudget,
    apiDeadlineMs: flags.apiTimeout,
    pauseGraceMs: flags.pauseGrace,
    onNodeFailure: flags.onFailure,
    onEvent,
  };
  let how = { completed: false, reason: "the run ended early" };
  try {
    if (typeof source === "object") await requireProvider(source.plan, tools);
    const abandons = typeof source === "object" && source.abandon === true;
    const signal = abandons ? new AbortController().signal : env.signal;
    const run = work({
      ...{ kube, kinds: stepKinds, tools, signal, options },
      ...(monitor === undefined ? {} : { monitor }),
    });
    const outcome = await (abandons ? Promise.race([run, interrupted(env.signal)]) : run);
    how = { completed: outcome.phase === "Completed", reason: outcome.reason };
    return outcome;
  } finally {
    isShown = false;
    close();
    await display.end(how);
    if (flags.reportDir !== undefined) await writeReports(env, kube, flags.reportDir, flags.name);
  }
}

/** Never returns; throws once the signal aborts. */
function interrupted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const stop = (): void => reject(new ShuntError("interrupted", { code: "Interrupted", exitCode: 130 }));
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop, { once: true });
  });
}
