// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { createLogger } from "../lib/log.ts";
import { Coalesced } from "./coalesce.ts";
import { KeyedQueue } from "./keyed-queue.ts";

test("work of one key runs in turn, after a failure too, and no more than the limit at once", async () => {
  const queue = new KeyedQueue(2);
  const order: string[] = [];
  let running = 0;
  let most = 0;
  const work =
    (name: string, fails = false) =>
    async () => {
      most = Math.max(most, ++running);
      order.push(`${name}+`);
      await new Promise((resolve) => setImmediate(resolve));
      order.push(`${name}-`);
      running--;
      if (fails) throw new Error(name);
    };
  const results = await Promise.allSettled([
    queue.run("a", work("a1", true)),
    queue.run("a", work("a2")),
    queue.run("b", work("b1")),
    queue.run("c", work("c1")),
  ]);
  assert.deepEqual(
    results.map((result) => result.status),
    ["rejected", "fulfilled", "fulfilled", "fulfilled"],
  );
  assert.ok(order.indexOf("a1-") < order.indexOf("a2+"));
  assert.equal(most, 2);
});

test("many requests are one run, and a failed one is tried again", async () => {
  let runs = 0;
  const errors: string[] = [];
  await new Promise<void>((resolve) => {
    const work = new Coalesced(
      "test",
      () => {
        runs++;
        if (runs === 1) throw new Error("first");
        resolve();
      },
      { log: createLogger(() => undefined), delayMs: 1, onError: (name) => errors.push(name) },
    );
    for (let index = 0; index < 10; index++) work.trigger();
  });
  assert.equal(runs, 2);
  assert.deepEqual(errors, ["test"]);
});
