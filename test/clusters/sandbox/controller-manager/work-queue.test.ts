// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { createLogger } from "../../../../lib/log.ts";
import { waitFor } from "../../../../lib/wait.ts";
import { Expectations } from "./expectations.ts";
import { WorkQueue } from "./work-queue.ts";

const silent = createLogger(() => undefined);
const idle = (queue: WorkQueue) => waitFor("the queue", () => queue.pending === 0, { timeoutMs: 5_000 });

test("a key is handled by one worker at a time, and again when it was added meanwhile", async () => {
  let active = 0;
  let most = 0;
  let runs = 0;
  const queue: WorkQueue = new WorkQueue(async (key) => {
    most = Math.max(most, ++active);
    if (++runs === 1) queue.add(key);
    await new Promise((resolve) => setTimeout(resolve, 5));
    active--;
    return undefined;
  }, silent);
  queue.add("a");
  queue.add("a");
  const stop = new AbortController();
  queue.start(stop.signal);
  await idle(queue);
  stop.abort();
  assert.deepEqual({ most, runs }, { most: 1, runs: 2 });
});

test("what failed is tried again", async () => {
  const seen: string[] = [];
  const queue = new WorkQueue(async (key) => {
    seen.push(key);
    if (seen.length < 3) throw new Error("not yet");
    return undefined;
  }, silent);
  const stop = new AbortController();
  queue.start(stop.signal);
  queue.add("a");
  await waitFor("three attempts", () => seen.length === 3, { timeoutMs: 5_000 });
  stop.abort();
});

test("a key can ask to be looked at again later", async () => {
  let runs = 0;
  const queue = new WorkQueue(async () => (++runs === 1 ? 10 : undefined), silent);
  const stop = new AbortController();
  queue.start(stop.signal);
  queue.add("a");
  await waitFor("a second run", () => runs === 2, { timeoutMs: 5_000 });
  stop.abort();
});

test("expectations hold a controller back until its cache shows what it did", () => {
  const expectations = new Expectations();
  expectations.expectCreation("set");
  expectations.expectDeletion("set", "uid");
  assert.equal(expectations.satisfied("set"), false);
  expectations.creationSeen("set");
  assert.equal(expectations.satisfied("set"), false);
  expectations.deletionSeen("set", "uid");
  assert.equal(expectations.satisfied("set"), true);
});
