// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import type { ContainerFacts } from "./container-status.ts";
import type { Pod } from "./pod.ts";
import { testContainer, testPod, testRuntime } from "./pod-fixture.ts";
import type { PodRuntime } from "./pod-runtime.ts";
import { podStatus } from "./pod-status.ts";
import { statusPatch } from "./status-writer.ts";

const facts: ContainerFacts = { waits: new Map(), ready: () => true, started: () => true, message: () => "" };

function status(pod: Pod, runtime: PodRuntime, over: Partial<ContainerFacts> = {}, verdict?: any): any {
  const input = {
    pod,
    runtime,
    facts: { ...facts, ...over },
    hostIps: ["192.0.2.1"],
    verdict,
    nowMs: 10_000,
  };
  return podStatus(input);
}

const conditions = (result: any): Record<string, string> =>
  Object.fromEntries(result.conditions.map((entry: any) => [entry.type, entry.status]));
const ended = (exitCode: number) => ({ state: "exited", exitCode, finishedAtMs: 5_000 }) as const;

test("a pod that runs is ready", () => {
  const result = status(testPod(), testRuntime(testContainer("main")));
  assert.equal(result.phase, "Running");
  assert.deepEqual(result.podIPs, [{ ip: "10.0.0.1" }]);
  assert.deepEqual(conditions(result), {
    PodReadyToStartContainers: "True",
    Initialized: "True",
    Ready: "True",
    ContainersReady: "True",
    PodScheduled: "True",
  });
});

test("a running init container is not done", () => {
  const pod = testPod({ initContainers: [{ name: "init", image: "image:1" }] });
  const result = status(pod, testRuntime(testContainer("init")));
  assert.equal(result.phase, "Pending");
  assert.equal(conditions(result).Initialized, "False");
  assert.equal(result.containerStatuses[0].state.waiting.reason, "PodInitializing");
});

test("the phase at the end follows exit codes and restart policy", () => {
  const phase = (restartPolicy: string, exitCode: number) =>
    status(testPod({ restartPolicy }), testRuntime(testContainer("main", ended(exitCode)))).phase;
  assert.equal(phase("Never", 0), "Succeeded");
  assert.equal(phase("Never", 1), "Failed");
  assert.equal(phase("OnFailure", 0), "Succeeded");
  assert.equal(phase("OnFailure", 1), "Running");
  assert.equal(phase("Always", 0), "Running");
});

test("a container held back shows why, and how it ended before", () => {
  const waits = new Map([["main", { reason: "CrashLoopBackOff", message: "back-off 10s" }]]);
  const [entry] = status(testPod(), testRuntime(testContainer("main", ended(3))), {
    waits,
  }).containerStatuses;
  assert.equal(entry.state.waiting.reason, "CrashLoopBackOff");
  assert.equal(entry.lastState.terminated.exitCode, 3);
});

test("a closed readiness gate keeps a pod from being ready", () => {
  const pod = testPod({ readinessGates: [{ conditionType: "example.com/open" }] });
  const result = conditions(status(pod, testRuntime(testContainer("main"))));
  assert.deepEqual([result.ContainersReady, result.Ready], ["True", "False"]);
});

test("a condition keeps the time of its last change", () => {
  const first = status(testPod(), testRuntime(testContainer("main")));
  const early = {
    ...first,
    conditions: first.conditions.map((entry: any) => ({ ...entry, lastTransitionTime: "t0" })),
  };
  const second = status(testPod({}, early), testRuntime(testContainer("main")));
  assert.ok(second.conditions.every((entry: any) => entry.lastTransitionTime === "t0"));
});

test("an ended pod stays as it ended", () => {
  const pod = testPod({ restartPolicy: "Never" }, { phase: "Failed", reason: "DeadlineExceeded" });
  const result = status(pod, testRuntime(testContainer("main", ended(0))));
  assert.deepEqual([result.phase, result.reason], ["Failed", "DeadlineExceeded"]);
});

test("a status that says the same needs no patch", () => {
  const result = status(testPod(), testRuntime(testContainer("main")));
  assert.equal(statusPatch(JSON.parse(JSON.stringify(result)), result), undefined);
});

test("a patch leaves the conditions of others alone and deletes addresses that are gone", () => {
  const result = status(testPod(), testRuntime(testContainer("main")));
  const old = {
    ...result,
    podIPs: [{ ip: "10.0.0.9" }],
    conditions: [{ type: "example.com/open", status: "True" }, ...result.conditions],
  };
  assert.deepEqual(statusPatch(old, result), {
    podIPs: [{ ip: "10.0.0.1" }, { $patch: "delete", ip: "10.0.0.9" }],
  });
});
