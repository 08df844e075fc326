// SPDX-License-Identifier: Apache-2.0
import { errorMessage } from "../../lib/errors.ts";
import { Gate } from "./gate.ts";
import { type CaseResult, combineOutcomes, type TestResult } from "./report.ts";
import { type RunSettings, ScenarioRun, SkipScenario } from "./scenario-run.ts";
import type { Case } from "./suite.ts";

/** Told how the run goes, as it goes. */
export interface RunListener {
  testStarted?(name: string, cases: number): void;
  caseEnded?(test: string, result: CaseResult): void;
  testEnded?(result: TestResult): void;
  /** Called, and waited for, after each case that failed; for `--pause-on-fail`. */
  afterFailure?(test: string, result: CaseResult): Promise<void>;
}

export interface RunnerOptions {
  settings: RunSettings;
  /** How many tests run at once. */
  testConcurrency: number;
  /** The user's interruption alone, to tell it from a time-out. */
  interrupt: AbortSignal;
  listener: RunListener;
}

/** Runs the tests, each a list of cases, and returns their results in the same order. Never throws. */
export async function runTests<World>(
  tests: readonly (readonly Case<World>[])[],
  world: World,
  options: RunnerOptions,
): Promise<TestResult[]> {
  const results: TestResult[] = new Array(tests.length);
  const gate = new Gate(Math.max(1, options.testConcurrency));
  const runOne = async (cases: readonly Case<World>[], index: number): Promise<void> => {
    await gate.enter(new AbortController().signal);
    try {
      results[index] = await runTest(cases, world, options);
    } finally {
      gate.leave();
    }
  };
  const numbered = tests.map((cases, index) => ({ cases, index }));
  const alone = numbered.filter(({ cases }) => cases[0]!.test.alone === true);
  const together = numbered.filter(({ cases }) => cases[0]!.test.alone !== true);
  await Promise.all(together.map(({ cases, index }) => runOne(cases, index)));
  for (const { cases, index } of alone) await runOne(cases, index);
  return results;
}

async function runTest<World>(
  cases: readonly Case<World>[],
  world: World,
  options: RunnerOptions,
): Promise<TestResult> {
  const { test } = cases[0]!;
  const start = Date.now();
  options.listener.testStarted?.(test.name, cases.length);
  const turn = new Gate(test.inTurn === true ? 1 : cases.length);
  const ended = await Promise.all(
    cases.map(async (entry) => {
      await turn.enter(new AbortController().signal);
      const result = await runCase(entry, world, options);
      options.listener.caseEnded?.(test.name, result);
      if (result.outcome === "failed" && !options.interrupt.aborted)
        await options.listener.afterFailure?.(test.name, result);
      turn.leave();
      return result;
    }),
  );
  const result: TestResult = {
    name: test.name,
    description: test.description,
    outcome: combineOutcomes(ended.map((entry) => entry.outcome)),
    durationMs: Date.now() - start,
    cases: ended,
  };
  options.listener.testEnded?.(result);
  return result;
}

async function runCase<World>(entry: Case<World>, world: World, options: RunnerOptions): Promise<CaseResult> {
  const { scenario, family, title } = entry;
  const start = Date.now();
  const log: string[] = [];
  const run = new ScenarioRun(world, family, options.settings, (line) => log.push(line));
  const result: CaseResult = {
    scenario: scenario.name,
    title,
    ...(scenario.families === "once" ? {} : { family }),
    outcome: "failed",
    durationMs: 0,
    actions: run.actions,
    log,
  };
  try {
    options.settings.signal.throwIfAborted();
    const reason = scenario.skip?.(world, family);
    if (reason !== undefined) return { ...result, outcome: "skipped", reason };
    await scenario.run(run);
    if (run.actions.length === 0) result.reason = "the scenario had nothing to try";
    else if (run.actions.every((action) => action.outcome === "passed")) result.outcome = "passed";
  } catch (error) {
    if (error instanceof SkipScenario) return { ...result, outcome: "skipped", reason: error.message };
    if (options.interrupt.aborted) result.outcome = "interrupted";
    result.reason = options.interrupt.aborted ? "interrupted" : reasonOf(error, options.settings.signal);
    log.push(`  [!] ${result.reason}`);
  } finally {
    for (const failure of await run.finalizers.runAll()) {
      result.outcome = result.outcome === "interrupted" ? "interrupted" : "failed";
      result.reason = `cannot clean up: ${failure}`;
      log.push(`  [!] ${result.reason}`);
    }
    result.durationMs = Date.now() - start;
  }
  return result;
}

/** A time-out aborts what runs with errors of many kinds; its own reason says best what happened. */
function reasonOf(error: unknown, signal: AbortSignal): string {
  return errorMessage(signal.aborted ? signal.reason : error);
}
