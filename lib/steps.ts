// SPDX-License-Identifier: Apache-2.0
import type { Writable } from "node:stream";
import { errorMessage } from "./errors.ts";

/** One named step of a procedure; a list of them reads like a plan. */
export interface Step<Context> {
  /** Stable name, for machines and journals. */
  name: string;
  /** What it does, as a sentence for people. */
  title: string;
  /** Why it need not run now; undefined when it must. */
  skip?(context: Context): string | undefined | Promise<string | undefined>;
  /** Does it; safe to run again. `report` says how far it is. Returns what came of it, one line. */
  run(context: Context, report: (progress: string) => void): Promise<string | undefined>;
}

/** How progress is shown: a live list, plain lines for logs, JSON lines for machines, or not at all. */
export type ProgressStyle = "live" | "lines" | "json" | "silent";

export interface StepsOptions {
  style: ProgressStyle;
  out: Writable;
  signal?: AbortSignal;
  /** Milliseconds since some fixed point; for tests. */
  now?: () => number;
}

/** Live on a terminal, plain lines elsewhere and in CI, JSON when asked. */
export function progressStyle(
  out: { isTTY?: boolean },
  env: Record<string, string | undefined>,
  output?: string,
): ProgressStyle {
  if (output === "json") return "json";
  return out.isTTY === true && env.CI === undefined && env.TERM !== "dumb" ? "live" : "lines";
}

/** Runs the steps in order and stops at the first that throws; what it threw is thrown on. */
export async function runSteps<Context>(
  steps: readonly Step<Context>[],
  context: Context,
  options: StepsOptions,
): Promise<void> {
  if (options.style === "live") return await runLive(steps, context, options);
  const now = options.now ?? Date.now;
  for (const [index, step] of steps.entries()) {
    options.signal?.throwIfAborted();
    const emit = emitter(options, step, `[${index + 1}/${steps.length}]`);
    const skipped = await step.skip?.(context);
    if (skipped !== undefined) {
      emit("skipped", skipped);
      continue;
    }
    const start = now();
    emit("started");
    let last = "";
    try {
      const outcome = await step.run(context, (progress) => {
        if (progress !== last) emit("progress", progress);
        last = progress;
      });
      emit("done", outcome, now() - start);
    } catch (error) {
      emit("failed", errorMessage(error), now() - start);
      throw error;
    }
  }
}

type StepEvent = "started" | "progress" | "skipped" | "done" | "failed";

function emitter(options: StepsOptions, step: { name: string; title: string }, position: string) {
  return (event: StepEvent, message?: string, durationMs?: number): void => {
    if (options.style === "silent") return;
    if (options.style === "json") {
      const time = new Date().toISOString();
      options.out.write(`${JSON.stringify({ time, step: step.name, event, message, durationMs })}\n`);
      return;
    }
    const detail = message === undefined || message === "" ? "" : `: ${message}`;
    const seconds = durationMs === undefined ? "" : ` (${(durationMs / 1000).toFixed(1)} s)`;
    const line: Record<StepEvent, string> = {
      started: `${position} ${step.title} ...`,
      progress: `      ${message ?? ""}`,
      skipped: `${position} ${step.title} - skipped${detail}`,
      done: `${position} ${step.title} - done${seconds}${detail}`,
      failed: `${position} ${step.title} - FAILED${seconds}`,
    };
    options.out.write(`${line[event]}\n`);
  };
}

async function runLive<Context>(
  steps: readonly Step<Context>[],
  context: Context,
  options: StepsOptions,
): Promise<void> {
  const { Listr, PRESET_TIMER } = await import("listr2");
  const list = new Listr(
    steps.map((step) => ({
      title: step.title,
      task: async (_: unknown, task: any) => {
        options.signal?.throwIfAborted();
        const skipped = await step.skip?.(context);
        if (skipped !== undefined) return task.skip(`${step.title} - ${skipped}`);
        const outcome = await step.run(context, (progress) => {
          task.output = progress;
        });
        if (outcome !== undefined && outcome !== "") task.title = `${step.title}: ${outcome}`;
      },
    })),
    {
      concurrent: false,
      exitOnError: true,
      registerSignalListeners: false,
      rendererOptions: { collapseErrors: false, showErrorMessage: false, timer: PRESET_TIMER },
    },
  );
  await list.run();
}
