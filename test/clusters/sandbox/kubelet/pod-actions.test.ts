// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { type ProbeVerdicts, planPod } from "./pod-actions.ts";
import { testContainer, testPod, testRuntime, testSandbox } from "./pod-fixture.ts";

const calm: ProbeVerdicts = { failure: () => undefined, started: () => true };
const names = (list: { name: string }[]) => list.map((entry) => entry.name);
const ended = (exitCode: number) => ({ state: "exited", exitCode }) as const;
const withInit = { initContainers: [{ name: "init", image: "image:1" }] };

test("a new pod gets a sandbox first", () => {
  const plan = planPod(testPod(), { sandboxes: [], containers: [] }, calm);
  assert.equal(plan.sandbox, undefined);
  assert.deepEqual([plan.attempt, plan.replace], [0, false]);
  assert.deepEqual(names(plan.start), ["main"]);
});

test("a dead sandbox is replaced, unless all containers have ended for good", () => {
  const dead = { sandboxes: [testSandbox({ ready: false })], containers: [testContainer("main", ended(0))] };
  const again = planPod(testPod(), dead, calm);
  assert.deepEqual([again.attempt, again.replace, names(again.start)], [1, true, ["main"]]);
  assert.deepEqual(planPod(testPod({ restartPolicy: "OnFailure" }), dead, calm).start, []);
});

test("a sandbox in the wrong network is replaced", () => {
  const plan = planPod(testPod({ hostNetwork: true }), testRuntime(), calm);
  assert.equal(plan.sandbox, undefined);
});

test("containers wait for init containers to end well", () => {
  const pod = testPod(withInit);
  assert.deepEqual(names(planPod(pod, testRuntime(), calm).start), ["init"]);
  assert.deepEqual(planPod(pod, testRuntime(testContainer("init")), calm).start, []);
  assert.deepEqual(names(planPod(pod, testRuntime(testContainer("init", ended(1))), calm).start), ["init"]);
  assert.deepEqual(names(planPod(pod, testRuntime(testContainer("init", ended(0))), calm).start), ["main"]);
});

test("a failed init container of a pod that never restarts ends it", () => {
  const pod = testPod({ ...withInit, restartPolicy: "Never" });
  assert.deepEqual(planPod(pod, testRuntime(testContainer("init", ended(1))), calm).start, []);
});

test("a sidecar holds the others back until it has started, and is restarted like a container", () => {
  const pod = testPod({ initContainers: [{ name: "side", image: "image:1", restartPolicy: "Always" }] });
  const slow = { ...calm, started: () => false };
  assert.deepEqual(planPod(pod, testRuntime(testContainer("side")), slow).start, []);
  assert.deepEqual(names(planPod(pod, testRuntime(testContainer("side")), calm).start), ["main"]);
  const crashed = testRuntime(testContainer("main"), testContainer("side", ended(0)));
  assert.deepEqual(names(planPod(pod, crashed, calm).start), ["side"]);
});

test("the restart policy decides which ended containers start again", () => {
  for (const [restartPolicy, exitCode, restarts] of [
    ["Always", 0, true],
    ["OnFailure", 0, false],
    ["OnFailure", 1, true],
    ["Never", 1, false],
  ] as const) {
    const plan = planPod(
      testPod({ restartPolicy }),
      testRuntime(testContainer("main", ended(exitCode))),
      calm,
    );
    assert.equal(plan.start.length === 1, restarts, `${restartPolicy} ${exitCode}`);
  }
});

test("a failed probe or another image stops a running container", () => {
  const sick = { ...calm, failure: () => "failed liveness probe" };
  const probed = planPod(testPod(), testRuntime(testContainer("main")), sick);
  assert.deepEqual(
    probed.stop.map((entry) => entry.message),
    ["failed liveness probe"],
  );
  const changed = planPod(testPod(), testRuntime(testContainer("main", { hash: "other" })), calm);
  assert.equal(changed.stop.length, 1);
  assert.deepEqual(planPod(testPod(), testRuntime(testContainer("main")), calm).stop, []);
});
