// SPDX-License-Identifier: Apache-2.0
import type { Family } from "../../lib/addresses.ts";

export type Outcome = "passed" | "failed" | "skipped" | "interrupted";

export interface ActionResult {
  /** What it tried, from where to where. */
  name: string;
  outcome: "passed" | "failed";
  attempts: number;
  durationMs: number;
  error?: string;
}

export interface CaseResult {
  scenario: string;
  /** The scenario with its family, as JUnit and the table name it. */
  title: string;
  family?: Family;
  outcome: Outcome;
  /** Why it was skipped, or why it failed as a whole. */
  reason?: string;
  durationMs: number;
  actions: ActionResult[];
  /** Everything that it logged. */
  log: string[];
}

export interface TestResult {
  name: string;
  description: string;
  outcome: Outcome;
  durationMs: number;
  cases: CaseResult[];
}

export interface Summary {
  outcome: "passed" | "failed" | "interrupted";
  tests: Record<Outcome, number>;
  scenarios: Record<Outcome, number>;
  actions: { passed: number; failed: number };
}

/** All that a run found out; the table, the JSON and the JUnit file are views of it. */
export interface Report {
  version: string;
  startedAt: string;
  durationMs: number;
  cluster: { server: string; nodes: number; families: Family[] };
  summary: Summary;
  /** What went wrong outside any scenario, for example while cleaning up. */
  problems: string[];
  tests: TestResult[];
}

/** The outcome of several together: the worst, and skipped only when all were. */
export function combineOutcomes(outcomes: readonly Outcome[]): Outcome {
  for (const outcome of ["failed", "interrupted", "passed"] as const)
    if (outcomes.includes(outcome)) return outcome;
  return "skipped";
}

/** Counts the results. A run in which nothing passed has not passed. */
export function summarize(tests: readonly TestResult[], problems: readonly string[] = []): Summary {
  const cases = tests.flatMap((test) => test.cases);
  const actions = cases.flatMap((entry) => entry.actions);
  const scenarios = countOutcomes(cases);
  const interrupted = scenarios.interrupted > 0;
  const failed = scenarios.failed > 0 || problems.length > 0 || scenarios.passed === 0;
  return {
    outcome: interrupted ? "interrupted" : failed ? "failed" : "passed",
    tests: countOutcomes(tests),
    scenarios,
    actions: {
      passed: actions.filter((action) => action.outcome === "passed").length,
      failed: actions.filter((action) => action.outcome === "failed").length,
    },
  };
}

function countOutcomes(results: readonly { outcome: Outcome }[]): Record<Outcome, number> {
  const counts: Record<Outcome, number> = { passed: 0, failed: 0, skipped: 0, interrupted: 0 };
  for (const result of results) counts[result.outcome]++;
  return counts;
}

/** Exit code of the command: 0 all passed, 1 something failed, 130 interrupted. */
export function exitCodeOf(report: Report): number {
  return { passed: 0, failed: 1, interrupted: 130 }[report.summary.outcome];
}
