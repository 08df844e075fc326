// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import type { KubeObject } from "../resource.ts";
import { pod, TestStore } from "../test-store.ts";
import { humanDuration } from "./age.ts";

const NOW = new Date("2026-01-02T00:00:00Z");
const { registry } = new TestStore();

function cells(group: string, plural: string, object: KubeObject): unknown[] {
  const resource = registry.all().find((item) => item.group === group && item.plural === plural)!;
  return resource.row(object, NOW);
}

function podCells(status: KubeObject, spec: KubeObject = {}, metadata: KubeObject = {}): unknown[] {
  const object: KubeObject = { ...pod("web", spec), status };
  Object.assign(object.metadata, { creationTimestamp: "2026-01-01T23:55:00Z" }, metadata);
  return cells("", "pods", object).slice(1, 5);
}

test("durations are printed as kubectl prints them", () => {
  const second = 1000;
  const minute = 60 * second;
  const hour = 60 * minute;
  const cases: [number, string][] = [
    [45 * second, "45s"],
    [119 * second, "119s"],
    [200 * second, "3m20s"],
    [10 * minute, "10m"],
    [3 * hour + 5 * minute, "3h5m"],
    [30 * hour, "30h"],
    [51 * hour, "2d3h"],
    [10 * 24 * hour, "10d"],
  ];
  for (const [duration, expected] of cases) assert.equal(humanDuration(duration), expected);
});

test("pods show why they do not run", () => {
  const main = (state: KubeObject, rest: KubeObject = {}) => ({
    containerStatuses: [{ name: "main", state, ...rest }],
  });
  assert.deepEqual(podCells({ phase: "Running", ...main({ running: {} }, { ready: true }) }), [
    "1/1",
    "Running",
    "0",
    "5m",
  ]);
  assert.equal(
    podCells({ phase: "Running", ...main({ waiting: { reason: "CrashLoopBackOff" } }) })[1],
    "CrashLoopBackOff",
  );
  assert.equal(
    podCells({ phase: "Succeeded", ...main({ terminated: { reason: "Completed", exitCode: 0 } }) })[1],
    "Completed",
  );
  assert.equal(podCells({ phase: "Failed", ...main({ terminated: { exitCode: 3 } }) })[1], "ExitCode:3");
  assert.equal(
    podCells({ phase: "Running" }, {}, { deletionTimestamp: "2026-01-02T00:00:00Z" })[1],
    "Terminating",
  );
  const init = { initContainers: [{ name: "i" }, { name: "j" }] };
  const waiting = {
    phase: "Pending",
    initContainerStatuses: [{ name: "i", state: { waiting: { reason: "PodInitializing" } } }],
  };
  assert.equal(podCells(waiting, init)[1], "Init:0/2");
  const restarted = main(
    { running: {} },
    { ready: true, restartCount: 2, lastState: { terminated: { finishedAt: "2026-01-01T23:59:00Z" } } },
  );
  assert.equal(podCells({ phase: "Running", ...restarted })[2], "2 (60s ago)");
});

test("services and nodes are printed with their addresses", () => {
  const service = {
    metadata: { name: "web" },
    spec: {
      type: "NodePort",
      clusterIPs: ["10.96.0.5"],
      ports: [{ port: 80, nodePort: 30080, protocol: "TCP" }],
    },
  };
  assert.deepEqual(cells("", "services", service), [
    "web",
    "NodePort",
    "10.96.0.5",
    "<none>",
    "80:30080/TCP",
    "<unknown>",
    "<none>",
  ]);
  const node = {
    metadata: { name: "n1", labels: { "node-role.kubernetes.io/control-plane": "" } },
    spec: { unschedulable: true },
    status: { conditions: [{ type: "Ready", status: "True" }], nodeInfo: { kubeletVersion: "v1.33.0" } },
  };
  assert.deepEqual(cells("", "nodes", node).slice(0, 5), [
    "n1",
    "Ready,SchedulingDisabled",
    "control-plane",
    "<unknown>",
    "v1.33.0",
  ]);
});

test("every kind prints one cell a column", () => {
  for (const resource of registry.all()) {
    const row = resource.row({ metadata: { name: "a" } }, NOW);
    assert.equal(row.length, resource.columns.length, resource.kind);
  }
});
