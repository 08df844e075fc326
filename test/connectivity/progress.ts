// SPDX-License-Identifier: Apache-2.0
import type { Writable } from "node:stream";
import type { ProgressStyle } from "../../lib/steps.ts";
import type { Outcome, TestResult } from "./report.ts";
import type { RunListener } from "./runner.ts";

/** Shows a run as it goes, and waits at the end until all is shown. */
export interface ProgressView extends RunListener {
  finish(): Promise<void>;
}

const marks: Record<Outcome, string> = {
  passed: "ok",
  failed: "FAILED",
  skipped: "skipped",
  interrupted: "interrupted",
};

/** `ok (12 scenarios, 1.2 s)`, with how many failed or were skipped. */
function describeResult(result: TestResult): string {
  const count = (outcome: Outcome): number =>
    result.cases.filter((entry) => entry.outcome === outcome).length;
  const parts = [`${result.cases.length} ${result.cases.length === 1 ? "scenario" : "scenarios"}`];
  for (const outcome of ["failed", "skipped", "interrupted"] as const)
    if (count(outcome) > 0) parts.push(`${count(outcome)} ${outcome}`);
  return `${marks[result.outcome]} (${parts.join(", ")}, ${(result.durationMs / 1000).toFixed(1)} s)`;
}

/** The view that fits the style: a live list, lines, or nothing. */
export async function openProgress(
  style: ProgressStyle,
  out: Writable,
  tests: readonly { name: string; cases: number }[],
): Promise<ProgressView> {
  if (style === "live") return await openLive(tests);
  if (style !== "lines") return { finish: async () => undefined };
  let ended = 0;
  return {
    testEnded: (result) => {
      ended++;
      out.write(`[${ended}/${tests.length}] ${result.name}: ${describeResult(result)}\n`);
    },
    finish: async () => undefined,
  };
}

async function openLive(tests: readonly { name: string; cases: number }[]): Promise<ProgressView> {
  const { Listr } = await import("listr2");
  const rows = new Map(tests.map((test) => [test.name, newRow()]));
  const list = new Listr(
    tests.map((test) => ({
      title: test.name,
      task: async (_: unknown, task: any) => {
        const row = rows.get(test.name)!;
        row.show = (text) => {
          task.output = text;
        };
        const result = await row.ended;
        task.title = `${test.name}: ${describeResult(result)}`;
        if (result.outcome === "skipped") task.skip(task.title);
        if (result.outcome === "failed") throw new Error(task.title);
      },
    })),
    {
      concurrent: true,
      exitOnError: false,
      registerSignalListeners: false,
      rendererOptions: { collapseErrors: false, showErrorMessage: false },
    },
  );
  const shown = list.run().catch(() => undefined);
  const done = new Map<string, number>();
  return {
    caseEnded: (test, result) => {
      done.set(test, (done.get(test) ?? 0) + 1);
      const total = tests.find((entry) => entry.name === test)?.cases ?? 0;
      rows.get(test)?.show(`${done.get(test)}/${total} ${result.title}: ${marks[result.outcome]}`);
    },
    testEnded: (result) => rows.get(result.name)?.end(result),
    finish: async () => void (await shown),
  };
}

interface Row {
  show(text: string): void;
  ended: Promise<TestResult>;
  end(result: TestResult): void;
}

function newRow(): Row {
  const { promise, resolve } = Promise.withResolvers<TestResult>();
  return { show: () => undefined, ended: promise, end: resolve };
}
