// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { sleep } from "../../lib/wait.ts";
import { filterTests } from "./filter.ts";
import { Gate } from "./gate.ts";
import { formatJunit } from "./junit.ts";
import { type Report, summarize, type TestResult } from "./report.ts";
import { runTests } from "./runner.ts";
import { SkipScenario } from "./scenario-run.ts";
import { expandCases, type Scenario, type Test } from "./suite.ts";

type World = { events: string[] };

function scenario(
  name: string,
  run: Scenario<World>["run"],
  more: Partial<Scenario<World>> = {},
): Scenario<World> {
  return { name, description: name, families: "once", run, ...more };
}

const passing = (name: string): Scenario<World> =>
  scenario(name, async (t) => void (await t.action("one", async (a) => a.equal("it", 1, 1))));

const suiteOf = (...scenarios: Scenario<World>[]): Test<World>[] => [
  { name: "group", description: "a group", scenarios },
];

async function run(
  tests: Test<World>[],
  options: { retries?: number; abort?: AbortController; timeout?: AbortSignal } = {},
): Promise<{ results: TestResult[]; world: World }> {
  const abort = options.abort ?? new AbortController();
  const world: World = { events: [] };
  const signal = AbortSignal.any([abort.signal, options.timeout ?? new AbortController().signal]);
  const settings = { signal, retries: options.retries ?? 0, retryDelayMs: 1, gate: new Gate(4) };
  const results = await runTests(expandCases(tests, ["ipv4", "ipv6"]), world, {
    settings,
    testConcurrency: 2,
    interrupt: abort.signal,
    listener: {},
  });
  return { results, world };
}

test("a scenario runs once for each family, and its title says which", async () => {
  const each = scenario("s", async (t) => void (await t.action(t.family, async (a) => a.ok(true, ""))), {
    families: "each",
  });
  const { results } = await run(suiteOf(each));
  assert.deepEqual(
    results[0]!.cases.map((entry) => [entry.title, entry.actions[0]!.name, entry.outcome]),
    [
      ["s [ipv4]", "ipv4", "passed"],
      ["s [ipv6]", "ipv6", "passed"],
    ],
  );
});

test("a failed action does not hide the others, and fails its scenario, test and run", async () => {
  const mixed = scenario("mixed", async (t) => {
    await t.action("bad", async (a) => a.equal("the answer", 41, 42));
    await t.action("good", async (a) => a.equal("the answer", 42, 42));
  });
  const { results } = await run(suiteOf(passing("fine"), mixed));
  assert.deepEqual(
    results[0]!.cases.map((entry) => entry.outcome),
    ["passed", "failed"],
  );
  assert.equal(results[0]!.cases[1]!.actions[0]!.error, "the answer is 41, expected 42");
  assert.equal(results[0]!.cases[1]!.actions[1]!.outcome, "passed");
  assert.equal(summarize(results).outcome, "failed");
});

test("an action that asserts nothing and a scenario without actions fail", async () => {
  const { results } = await run(
    suiteOf(
      scenario("idle", async () => undefined),
      scenario("vain", async (t) => void (await t.action("x", async () => undefined))),
    ),
  );
  assert.deepEqual(
    results[0]!.cases.map((entry) => entry.outcome),
    ["failed", "failed"],
  );
});

test("a retried action passes when a later attempt does, and says how many it took", async () => {
  let calls = 0;
  const flaky = scenario(
    "flaky",
    async (t) => void (await t.action("x", async (a) => a.equal("n", ++calls, 3))),
  );
  const { results } = await run(suiteOf(flaky), { retries: 2 });
  assert.equal(results[0]!.outcome, "passed");
  assert.equal(results[0]!.cases[0]!.actions[0]!.attempts, 3);
});

test("skips carry their reason, and a run in which all is skipped has not passed", async () => {
  const before = scenario("before", async () => assert.fail(), { skip: () => "no such thing here" });
  const during = scenario("during", async () => {
    throw new SkipScenario("found out late");
  });
  const { results } = await run(suiteOf(before, during));
  assert.deepEqual(
    results[0]!.cases.map((entry) => [entry.outcome, entry.reason]),
    [
      ["skipped", "no such thing here"],
      ["skipped", "found out late"],
    ],
  );
  assert.equal(summarize(results).outcome, "failed");
});

test("an interrupted run cleans up in reverse, outside the interruption's reach, and starts nothing new", async () => {
  const abort = new AbortController();
  const long = scenario("long", async (t) => {
    for (const name of ["first", "second"])
      t.finally(name, async (signal) => {
        await sleep(5, signal);
        t.world.events.push(name);
      });
    await t.action("wait", async (a) => {
      setTimeout(() => abort.abort(), 5);
      await sleep(60_000, a.signal);
    });
  });
  const tests = [
    ...suiteOf(long),
    { name: "later", description: "", alone: true, scenarios: [passing("p")] },
  ];
  const { results, world } = await run(tests, { abort });
  assert.deepEqual(world.events, ["second", "first"]);
  assert.deepEqual(
    results.map((result) => result.outcome),
    ["interrupted", "interrupted"],
  );
  assert.equal(summarize(results).outcome, "interrupted");
});

test("a time-out of the whole run is a failure that says so", async () => {
  const endless = scenario(
    "endless",
    async (t) => void (await t.action("wait", (a) => sleep(60_000, a.signal))),
  );
  const timeout = new AbortController();
  setTimeout(() => timeout.abort(new Error("no end after 1 s")), 10);
  const { results } = await run(suiteOf(endless), { timeout: timeout.signal });
  assert.equal(results[0]!.cases[0]!.outcome, "failed");
  assert.equal(results[0]!.cases[0]!.reason, "no end after 1 s");
});

test("a finalizer that fails, fails its scenario and does not keep the others from running", async () => {
  const { results, world } = await run(
    suiteOf(
      scenario("s", async (t) => {
        t.finally("good", async () => void t.world.events.push("good"));
        t.finally("bad", async () => assert.fail("stuck"));
        await t.action("x", async (a) => a.ok(true, ""));
      }),
    ),
  );
  assert.deepEqual(world.events, ["good"]);
  assert.match(results[0]!.cases[0]!.reason!, /cannot clean up: bad: stuck/);
  assert.equal(results[0]!.outcome, "failed");
});

test("tests that want to be alone run after the others", async () => {
  const order: string[] = [];
  const noted = (name: string): Scenario<World> =>
    scenario(name, async (t) => {
      await t.action("x", async (a) => a.ok(true, ""));
      order.push(name);
    });
  await run([
    { name: "a", description: "", alone: true, scenarios: [noted("alone")] },
    { name: "b", description: "", scenarios: [noted("b")] },
    { name: "c", description: "", scenarios: [noted("c")] },
  ]);
  assert.equal(order[2], "alone");
});

test("scenarios that are in each other's way run in turn, also after one that failed", async () => {
  const events: string[] = [];
  const slow = (name: string): Scenario<World> =>
    scenario(name, async (t) => {
      events.push(`${name} begins`);
      await sleep(2, t.signal);
      events.push(`${name} ends`);
      await t.action("x", async (a) => a.ok(name !== "a", ""));
    });
  await run([{ name: "t", description: "", inTurn: true, scenarios: [slow("a"), slow("b")] }]);
  assert.deepEqual(events, ["a begins", "a ends", "b begins", "b ends"]);
});

test("--test patterns choose by test/scenario, ! takes away, and wrong ones are refused", () => {
  const tests: Test<World>[] = [
    { name: "dns", description: "", scenarios: [passing("service"), passing("world")] },
    { name: "base", description: "", scenarios: [passing("world")] },
  ];
  const names = (...patterns: string[]): string[] =>
    filterTests(tests, patterns).flatMap((entry) => entry.scenarios.map((s) => `${entry.name}/${s.name}`));
  assert.deepEqual(names(), ["dns/service", "dns/world", "base/world"]);
  assert.deepEqual(names("^dns"), ["dns/service", "dns/world"]);
  assert.deepEqual(names("/world"), ["dns/world", "base/world"]);
  assert.deepEqual(names("!world"), ["dns/service"]);
  assert.deepEqual(names("dns", "base", "!dns/world"), ["dns/service", "base/world"]);
  assert.throws(() => names("nothing"), /No test matches/);
  assert.throws(() => names("("), /not a regular expression/);
  assert.throws(() => names("!"), /it is empty/);
});

test("JUnit counts what the report counts, and any log is well-formed XML", async () => {
  const nasty = scenario("nasty", async (t) => {
    t.log('<tag> & "quotes" \u0000\u001b[31m \ud800 end');
    await t.action("x]]>", async (a) => a.ok(false, "broken <b>"));
  });
  const { results } = await run(
    suiteOf(
      passing("p"),
      nasty,
      scenario("s", async () => undefined, { skip: () => "why" }),
    ),
  );
  const report: Report = {
    version: "1",
    startedAt: "2026-01-01T00:00:00.000Z",
    durationMs: 5,
    cluster: { server: "https://x", nodes: 1, families: ["ipv4"] },
    summary: summarize(results),
    problems: [],
    tests: results,
  };
  const xml = formatJunit(report, { build: "a&b" });
  assert.match(
    xml,
    /<testsuites name="shunt connectivity test" tests="3" failures="1" skipped="1" errors="0"/,
  );
  assert.equal(xml.match(/<testcase /g)!.length, 3);
  assert.equal(xml.match(/<failure /g)!.length, 1);
  assert.match(xml, /<property name="build" value="a&amp;b"\/>/);
  assert.doesNotMatch(xml, /[\u0000-\u0008\u001b\ud800]/);
});
