// SPDX-License-Identifier: Apache-2.0
import type { Readable, Writable } from "node:stream";
import { ShuntError, UsageError } from "../../lib/errors.ts";
import type { KubeClient } from "../../lib/kube.ts";
import { type ProgressStyle, runSteps } from "../../lib/steps.ts";
import { VERSION } from "../../lib/version.ts";
import { findAgent } from "./agent-facts.ts";
import { catalog } from "./catalog.ts";
import { type Deployment, deploySteps } from "./deploy.ts";
import { filterTests } from "./filter.ts";
import { Finalizers } from "./finalizers.ts";
import { Gate } from "./gate.ts";
import type { ConnectivityOptions } from "./options.ts";
import { pauseAfterFailures } from "./pause.ts";
import { openProgress } from "./progress.ts";
import { type Report, summarize, type TestResult } from "./report.ts";
import { RunClock } from "./run-clock.ts";
import { type RunListener, runTests } from "./runner.ts";
import { expandCases, type Test } from "./suite.ts";
import { surveyWorld } from "./survey.ts";
import type { World } from "./world.ts";

export { formatJunit } from "./junit.ts";
export {
  type ConnectivityOptions,
  defaultOptions,
  parseExternal,
  parseSelector,
  parseToleration,
} from "./options.ts";
export { exitCodeOf, type Report } from "./report.ts";
export { formatReport } from "./table.ts";

/** Where a run shows itself and hears of its user. */
export interface RunSurroundings {
  style: ProgressStyle;
  out: Writable;
  /** Read for `--pause-on-fail`. */
  stdin: Readable;
  /** Aborts when the user interrupts. */
  signal: AbortSignal;
}

/** The names that `--test` matches, one `test/scenario` a line, with what each proves. */
export function listTests(patterns: readonly string[]): string {
  return filterTests(catalog, patterns)
    .map((test) => {
      const scenarios = test.scenarios.map(
        (entry) => `  ${test.name}/${entry.name}\n      ${entry.description}`,
      );
      return [`${test.name}: ${test.description}`, ...scenarios].join("\n");
    })
    .join("\n");
}

/**
 * Deploys the test's pods, runs the tests that the options choose, removes everything, and says what it found.
 * Throws when the tests could not be started at all; failed tests are in the report.
 */
export async function runConnectivityTest(
  kube: KubeClient,
  options: ConnectivityOptions,
  io: RunSurroundings,
): Promise<Report> {
  const tests = filterTests(catalog, options.tests);
  const start = Date.now();
  const startedAt = new Date(start).toISOString();
  const timeout = new AbortController();
  const clock = new RunClock(options.timeoutMs, () =>
    timeout.abort(new ShuntError(`the run did not end within ${options.timeoutMs / 1000} s (--timeout)`)),
  );
  const signal = AbortSignal.any([io.signal, timeout.signal]);
  const finalizers = new Finalizers(90_000);
  let results: TestResult[] = [];
  let world: World | undefined;
  let failure: unknown;
  try {
    world = await deployWorld(kube, options, io, { finalizers, signal, startedAt });
    const onPause = (paused: boolean) => (paused ? clock.pause() : clock.resume());
    const afterFailure = options.pauseOnFail ? { afterFailure: pauseAfterFailures(io, onPause) } : {};
    results = await runAll(tests, world, { ...options, afterFailure }, io, signal);
  } catch (error) {
    failure = timeout.signal.aborted ? timeout.signal.reason : error;
  } finally {
    clock.pause();
  }
  if (io.style === "lines") io.out.write(options.keep ? "Keeping the namespaces\n" : "Cleaning up\n");
  const problems = await finalizers.runAll();
  if (world === undefined || failure !== undefined) throw withProblems(failure, problems);
  return {
    version: VERSION,
    startedAt,
    durationMs: Date.now() - start,
    cluster: { server: kube.server, nodes: world.nodes.length, families: world.families },
    summary: summarize(results, problems),
    problems,
    tests: results,
  };
}

function withProblems(failure: unknown, problems: readonly string[]): unknown {
  if (problems.length === 0 || !(failure instanceof Error)) return failure;
  failure.message += `\nWhile cleaning up: ${problems.join("; ")}`;
  return failure;
}

async function deployWorld(
  kube: KubeClient,
  options: ConnectivityOptions,
  io: RunSurroundings,
  run: { finalizers: Finalizers; signal: AbortSignal; startedAt: string },
): Promise<World> {
  const agent = await findAgent(kube);
  const deployment: Deployment = {
    kube,
    options,
    agent,
    finalizers: run.finalizers,
    signal: run.signal,
    image: "",
    placement: { nodes: [], first: undefined as never, second: undefined },
    pods: new Map(),
    hosts: [],
    services: new Map(),
  };
  let world: World | undefined;
  const survey = {
    name: "survey",
    title: "Look around",
    run: async (_: Deployment, report: (progress: string) => void): Promise<string> => {
      world = await surveyWorld(deployment, run.startedAt, report);
      if (world.families.length === 0)
        throw new UsageError(
          `The cluster's pods have no ${options.families?.join(" or ")} address`,
          "See --ip-family.",
        );
      const outside = world.families.filter((family) => world!.outside.answers[family]);
      const { withoutDns } = world;
      const dns = withoutDns.length === 0 ? "" : `; no answer from cluster DNS for ${withoutDns.join(", ")}`;
      return `families ${world.families.join(", ")}; the outside answers: ${outside.join(", ") || "no"}${dns}`;
    },
  };
  await runSteps([...deploySteps, survey], deployment, { style: io.style, out: io.out, signal: run.signal });
  return world!;
}

async function runAll(
  tests: readonly Test<World>[],
  world: World,
  options: ConnectivityOptions & { afterFailure: Pick<RunListener, "afterFailure"> },
  io: RunSurroundings,
  signal: AbortSignal,
): Promise<TestResult[]> {
  const cases = expandCases(tests, world.families);
  const planned = cases.map((entries) => ({ name: entries[0]!.test.name, cases: entries.length }));
  const view = await openProgress(io.style, io.out, planned);
  const results = await runTests(cases, world, {
    settings: { signal, retries: options.retries, retryDelayMs: 400, gate: new Gate(12) },
    testConcurrency: options.testConcurrency,
    interrupt: io.signal,
    listener: { ...view, ...options.afterFailure },
  });
  await view.finish();
  return results;
}
