// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { Writable } from "node:stream";
import { test } from "node:test";
import type { PlanStep } from "../../migrate/model/plan.ts";
import { lineDisplay } from "./run-display.ts";

const step: PlanStep = {
  ...{ name: "drain/w1", kind: "drain", node: "w1", phase: "workers", wave: 2 },
  ...{ title: "Evict", changes: [], expectedSeconds: 1, risk: "" },
};

function shown(style: "lines" | "json" | "silent"): string[] {
  let text = "";
  const out = new Writable({
    write(chunk, _encoding, done) {
      text += String(chunk);
      done();
    },
  });
  const { onEvent } = lineDisplay(out, style);
  onEvent({ event: "phase", message: "Workers" });
  onEvent({ event: "step", step, state: "done", message: "3 pods moved", durationMs: 1_250 });
  onEvent({ event: "trouble", message: "the API server is away" });
  return text.split("\n").slice(0, -1);
}

test("a run is one line an event", () => {
  assert.deepEqual(shown("lines"), [
    ...["", "Workers", "  done     drain/w1 (1.3 s): 3 pods moved"],
    "  ! the API server is away",
  ]);
  assert.deepEqual(shown("silent"), []);
});

test("or one object a line", () => {
  const [, done] = shown("json").map((line) => JSON.parse(line));
  const { time, ...rest } = done;
  assert.ok(Date.parse(time) > 0);
  assert.deepEqual(rest, {
    ...{ event: "step", step: "drain/w1", state: "done", message: "3 pods moved", durationMs: 1_250 },
  });
});
