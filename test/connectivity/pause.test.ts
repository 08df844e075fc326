// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { beforeEach, describe, test } from "node:test";
import { waitFor } from "../../lib/wait.ts";
import { Gate } from "./gate.ts";
import { pauseAfterFailures } from "./pause.ts";
import { runTests } from "./runner.ts";
import { expandCases, type Scenario } from "./suite.ts";

describe("--pause-on-fail", () => {
  let stdin: PassThrough;
  let abort: AbortController;
  let written: string[];
  let clock: boolean[];
  const start = (scenarios: Scenario<object>[]) => {
    const out = new PassThrough();
    out.on("data", (chunk) => written.push(String(chunk)));
    const io = { out, stdin, signal: abort.signal };
    return runTests(
      expandCases([{ name: "group", description: "a group", scenarios }], ["ipv4"]),
      {},
      {
        settings: { signal: abort.signal, retries: 0, retryDelayMs: 1, gate: new Gate(4) },
        testConcurrency: 2,
        interrupt: abort.signal,
        listener: { afterFailure: pauseAfterFailures(io, (paused) => clock.push(paused)) },
      },
    );
  };
  const scenario = (name: string, value: number): Scenario<object> => ({
    name,
    description: name,
    families: "once",
    run: async (t) => void (await t.action("one", async (a) => a.equal("it", value, 1))),
  });
  const asked = (count: number) =>
    waitFor(`${count} questions`, () => written.length === count, { timeoutMs: 5_000, intervalMs: 5 });

  beforeEach(() => {
    stdin = new PassThrough();
    abort = new AbortController();
    written = [];
    clock = [];
  });

  test("stops at each failure until Enter is pressed, one at a time", async () => {
    let ended = false;
    const run = start([scenario("bad", 0), scenario("good", 1), scenario("worse", 2)]).finally(() => {
      ended = true;
    });
    await asked(1);
    assert.equal(ended, false);
    stdin.write("\n");
    await asked(2);
    assert.equal(ended, false);
    stdin.write("\n");
    const [result] = await run;
    assert.deepEqual(written, [
      "group/bad failed. Press Enter to go on.\n",
      "group/worse failed. Press Enter to go on.\n",
    ]);
    assert.deepEqual(clock, [true, false, true, false]);
    assert.deepEqual(
      result!.cases.map(({ outcome }) => outcome),
      ["failed", "passed", "failed"],
    );
  });

  test("asks nothing when all is well", async () => {
    await start([scenario("good", 1)]);
    assert.deepEqual(written, []);
  });

  test("an interruption ends the pause, and no other begins", async () => {
    const run = start([scenario("bad", 0), scenario("worse", 2)]);
    await asked(1);
    abort.abort();
    await run;
    assert.equal(written.length, 1);
  });

  test("the end of the input ends the pause", async () => {
    const run = start([scenario("bad", 0), scenario("worse", 2)]);
    await asked(1);
    stdin.end();
    await run;
    assert.equal(written.length, 1);
  });
});
