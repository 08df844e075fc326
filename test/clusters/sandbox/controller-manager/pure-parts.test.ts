// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { parseCidr } from "../../../../lib/addresses.ts";
import type { KubeObject } from "../../../../lib/kube-object.ts";
import { lastDue, parseSchedule } from "./cron-schedule.ts";
import { daemonAffinity, daemonFit, daemonNodeName } from "./daemon-set-nodes.ts";
import { rollDaemons } from "./daemon-set-rollout.ts";
import { budgetNeeds } from "./disruption-budget.ts";
import { parseFlags } from "./flags.ts";
import { formatIndexes, parseIndexes } from "./job-counts.ts";
import { freeSubnet } from "./node-cidrs.ts";
import { evictionDelayMs, nodeTaints } from "./node-health.ts";
import { sortForDeletion } from "./pod-state.ts";

const node = (name: string, spec = {}, status = {}): KubeObject => ({
  metadata: { name, labels: { zone: "a" } },
  spec,
  status: { conditions: [{ type: "Ready", status: "True" }], ...status },
});

test("flags: durations, one or two families, and unknown ones are refused", () => {
  const flags = parseFlags([
    "--kubeconfig=x",
    "--cluster-cidr=10.244.0.0/16,fd10:244::/56",
    "--allocate-node-cidrs",
    "--node-monitor-grace-period=5s",
  ]);
  assert.deepEqual(flags.nodeCidrMaskSize, { ipv4: 24, ipv6: 64 });
  assert.equal(flags.allocateNodeCidrs, true);
  assert.equal(flags.nodeMonitorGraceMs, 5_000);
  assert.throws(() => parseFlags(["--kubeconfig=x", "--no-such-flag"]), /no-such-flag/);
  assert.throws(() => parseFlags(["--kubeconfig=x", "--cluster-cidr=10.0.0.0"]), /CIDR/);
});

test("node networks: the lowest free one, undefined when all are taken", () => {
  const cluster = parseCidr("10.244.0.0/22");
  assert.equal(freeSubnet(cluster, 24, new Set(["10.244.0.0/24", "10.244.2.0/24"])), "10.244.1.0/24");
  const all = new Set(["10.244.0.0/24", "10.244.1.0/24", "10.244.2.0/24", "10.244.3.0/24"]);
  assert.equal(freeSubnet(cluster, 24, all), undefined);
  assert.equal(freeSubnet(parseCidr("fd10:244::/56"), 64, new Set(["fd10:244::/64"])), "fd10:244:0:1::/64");
});

test("taints follow conditions and cordoning, and others stay", () => {
  const mine = { key: "dedicated", value: "x", effect: "NoSchedule" };
  const cordoned = node("n", { unschedulable: true, taints: [mine] });
  assert.deepEqual(
    nodeTaints(cordoned).map(({ key }) => key),
    ["dedicated", "node.kubernetes.io/unschedulable"],
  );
  const unreachable = node("n", {}, { conditions: [{ type: "Ready", status: "Unknown" }] });
  assert.deepEqual(
    nodeTaints(unreachable).map(({ key, effect }) => `${key}:${effect}`),
    ["node.kubernetes.io/unreachable:NoSchedule", "node.kubernetes.io/unreachable:NoExecute"],
  );
  const back = node("n", { taints: nodeTaints(unreachable) });
  assert.deepEqual(nodeTaints(back), []);
});

test("eviction: at once without toleration, after its seconds with one, never without a limit", () => {
  const taint = { key: "k", effect: "NoExecute", timeAdded: "2026-01-01T00:00:00Z" };
  const now = Date.parse("2026-01-01T00:01:00Z");
  const pod = (tolerations: unknown[]): KubeObject => ({ metadata: {}, spec: { tolerations } });
  assert.equal(evictionDelayMs(pod([]), [taint], now), 0);
  const limited = pod([{ key: "k", operator: "Exists", tolerationSeconds: 300 }]);
  assert.equal(evictionDelayMs(limited, [taint], now), 240_000);
  assert.equal(evictionDelayMs(pod([{ operator: "Exists" }]), [taint], now), undefined);
});

test("daemons: where they run, where they may stay, and which node they are pinned to", () => {
  const set = (spec = {}): KubeObject => ({ metadata: {}, spec: { template: { spec } } });
  const refusing = node("n", { taints: [{ key: "k", effect: "NoSchedule" }] });
  assert.deepEqual(daemonFit(set(), refusing), { shouldRun: false, mayStay: true });
  assert.deepEqual(daemonFit(set({ nodeSelector: { zone: "b" } }), node("n")), {
    shouldRun: false,
    mayStay: false,
  });
  const notReady = node("n", { taints: [{ key: "node.kubernetes.io/not-ready", effect: "NoExecute" }] });
  assert.deepEqual(daemonFit(set(), notReady), { shouldRun: true, mayStay: true });
  assert.equal(daemonNodeName({ metadata: {}, spec: { affinity: daemonAffinity({}, "n7") } }), "n7");
});

test("a rolling update of daemons stays within its budget, but replaces what serves nobody", () => {
  const pod = (name: string, hash: string, ready = true): KubeObject => ({
    metadata: { name, labels: { "controller-revision-hash": hash } },
    spec: {},
    status: { conditions: [{ type: "Ready", status: ready ? "True" : "False" }] },
  });
  const place = (name: string, pods: KubeObject[]) => ({
    node: node(name),
    shouldRun: true,
    mayStay: true,
    pods,
  });
  const placed = ["a", "b", "c"].map((name) => place(name, [pod(name, "old")]));
  const set = (rollingUpdate = {}): KubeObject => ({
    metadata: {},
    spec: { updateStrategy: { rollingUpdate } },
  });
  assert.equal(rollDaemons(set({ maxUnavailable: 1 }), "new", placed, 0).remove.length, 1);
  const broken = [place("a", [pod("a", "old", false)]), ...placed.slice(1)];
  assert.deepEqual(
    rollDaemons(set({ maxUnavailable: 1 }), "new", broken, 0).remove.map(({ metadata }) => metadata.name),
    ["a"],
  );
  const surge = rollDaemons(set({ maxSurge: 2, maxUnavailable: 0 }), "new", placed, 0);
  assert.deepEqual([surge.remove.length, surge.surgeOn.length], [0, 2]);
});

test("budgets: percentages and maxUnavailable count what controllers ask for", () => {
  assert.deepEqual(budgetNeeds({ minAvailable: 2 }, 3, 5), { expectedPods: 3, desiredHealthy: 2 });
  assert.deepEqual(budgetNeeds({ minAvailable: "50%" }, 3, 5), { expectedPods: 5, desiredHealthy: 3 });
  assert.deepEqual(budgetNeeds({ maxUnavailable: 1 }, 3, 5), { expectedPods: 5, desiredHealthy: 4 });
});

test("deletion takes unplaced, then unready, then young pods first", () => {
  const pod = (name: string, nodeName: string, ready: boolean, created: string): KubeObject => ({
    metadata: { name, creationTimestamp: created },
    spec: { nodeName },
    status: {
      phase: "Running",
      conditions: [
        { type: "Ready", status: ready ? "True" : "False", lastTransitionTime: "2026-01-01T00:00:00Z" },
      ],
    },
  });
  const pods = [
    pod("old", "n1", true, "2026-01-01T00:00:00Z"),
    pod("young", "n2", true, "2026-01-02T00:00:00Z"),
    pod("unready", "n3", false, "2026-01-01T00:00:00Z"),
    pod("unplaced", "", false, "2026-01-01T00:00:00Z"),
  ];
  assert.deepEqual(
    sortForDeletion(pods).map(({ metadata }) => metadata.name),
    ["unplaced", "unready", "young", "old"],
  );
});

test("completed indexes are written as ranges and read back", () => {
  assert.equal(formatIndexes([5, 1, 3, 4, 8, 9]), "1,3-5,8,9");
  assert.deepEqual(parseIndexes("1,3-5"), [1, 3, 4, 5]);
});

test("cron lines: steps, ranges, names, either day, time zones; nonsense is refused", () => {
  const at = (text: string) => Date.parse(text);
  const last = (line: string, until: string, zone?: string) => {
    const due = lastDue(parseSchedule(line, zone), at(until) - 86_400_000, at(until));
    return due === undefined ? undefined : new Date(due).toISOString();
  };
  assert.equal(last("*/15 * * * *", "2026-01-01T10:20:00Z"), "2026-01-01T10:15:00.000Z");
  assert.equal(last("0 9-17 * * mon-fri", "2026-01-03T12:00:00Z"), "2026-01-02T17:00:00.000Z");
  assert.equal(last("30 8 * * *", "2026-01-01T10:00:00Z", "Europe/Berlin"), "2026-01-01T07:30:00.000Z");
  assert.equal(last("0 0 13 * 5", "2026-01-02T01:00:00Z"), "2026-01-02T00:00:00.000Z");
  assert.equal(last("@yearly", "2026-06-01T00:00:00Z"), undefined);
  assert.throws(() => parseSchedule("61 * * * *"), /61/);
  assert.throws(() => parseSchedule("* * *"), /3 fields/);
});
