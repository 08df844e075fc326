// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import type { KubeObject } from "../../../../lib/kube-object.ts";
import { failureMessage, nodeFilter, type Refusal } from "./filters.ts";
import { podRequests } from "./pod-resources.ts";
import { findPreemption } from "./preemption.ts";
import { quantityMilli } from "./quantity.ts";
import { SchedulingQueue } from "./scheduling-queue.ts";
import { bestNode } from "./scores.ts";
import { Snapshot } from "./snapshot.ts";

const node = (name: string, { labels = {}, spec = {}, allocatable = {} } = {}): KubeObject => ({
  metadata: { name, labels: { "kubernetes.io/hostname": name, ...labels } },
  spec,
  status: { allocatable: { cpu: "2", memory: "4Gi", pods: "10", ...allocatable } },
});
const pod = (name: string, spec: any = {}, labels: Record<string, string> = {}): KubeObject => ({
  metadata: { name, namespace: "ns", uid: name, labels },
  spec: { containers: [{ name: "c" }], ...spec },
});
const asking = (requests: Record<string, string>) => ({
  containers: [{ name: "c", resources: { requests } }],
});
const world = (nodes: KubeObject[], placed: Record<string, KubeObject[]> = {}) =>
  new Snapshot(
    nodes,
    Object.entries(placed).flatMap(([nodeName, pods]) => pods.map((entry) => ({ pod: entry, nodeName }))),
    new Map(),
  );

function judge(candidate: KubeObject, snapshot: Snapshot): Map<string, string> {
  const filter = nodeFilter(candidate, snapshot);
  return new Map(snapshot.list().map((info) => [info.name, filter(info)?.reasons.join("; ") ?? "fits"]));
}

const outcomes = (candidate: KubeObject, snapshot: Snapshot) =>
  Object.fromEntries(judge(candidate, snapshot));

test("quantities in thousandths", () => {
  const cases: [string, number][] = [
    ["100m", 100],
    ["2", 2_000],
    ["1.5", 1_500],
    ["1Ki", 1_024_000],
    ["1e3", 1_000_000],
    ["1k", 1_000_000],
    ["nonsense", 0],
  ];
  for (const [text, expected] of cases) assert.equal(quantityMilli(text), expected, text);
});

test("requests: init containers by their peak, sidecars beside the rest", () => {
  const requests = podRequests(
    pod("p", {
      containers: [
        { resources: { requests: { cpu: "100m" } } },
        { resources: { requests: { cpu: "200m" } } },
      ],
      initContainers: [
        { restartPolicy: "Always", resources: { requests: { cpu: "50m" } } },
        { resources: { requests: { cpu: "600m" } } },
      ],
    }),
  );
  assert.equal(requests.get("cpu"), 650);
});

test("resources, slots and host ports", () => {
  const port = { containers: [{ name: "c", ports: [{ containerPort: 80, hostPort: 80 }] }] };
  const snapshot = world([node("a"), node("b", { allocatable: { pods: "1" } }), node("c")], {
    a: [pod("big", asking({ cpu: "1500m" }))],
    b: [pod("one")],
    c: [pod("server", port)],
  });
  assert.deepEqual(outcomes(pod("p", asking({ cpu: "1" })), snapshot), {
    a: "Insufficient cpu",
    b: "Too many pods",
    c: "fits",
  });
  assert.match(judge(pod("p", port), snapshot).get("c")!, /free ports/);
});

test("taints, cordons, selectors and affinity by name", () => {
  const taint = { key: "node-role.kubernetes.io/control-plane", effect: "NoSchedule" };
  const snapshot = world([
    node("a", { spec: { taints: [taint] } }),
    node("b", { spec: { unschedulable: true } }),
    node("c", { labels: { disk: "ssd" } }),
    node("d"),
  ]);
  assert.deepEqual(outcomes(pod("p", { nodeSelector: { disk: "ssd" } }), snapshot), {
    a: "node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }",
    b: "node(s) were unschedulable",
    c: "fits",
    d: "node(s) didn't match Pod's node affinity/selector",
  });
  const matchFields = [{ key: "metadata.name", operator: "In", values: ["a"] }];
  const affinity = {
    nodeAffinity: {
      requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [{ matchFields }] },
    },
  };
  const daemon = pod("p", { affinity, tolerations: [{ operator: "Exists" }] });
  assert.deepEqual(
    [...judge(daemon, snapshot)].filter(([, outcome]) => outcome === "fits").map(([name]) => name),
    ["a"],
  );
});

test("pod affinity joins, anti-affinity keeps away both ways, the first of a group may start it", () => {
  const rule = (kind: string, app: string) => ({
    affinity: {
      [kind]: {
        requiredDuringSchedulingIgnoredDuringExecution: [
          { labelSelector: { matchLabels: { app } }, topologyKey: "kubernetes.io/hostname" },
        ],
      },
    },
  });
  const loner = pod("loner", rule("podAntiAffinity", "web"), { app: "web" });
  const snapshot = world([node("a"), node("b")], { a: [loner] });
  assert.deepEqual(outcomes(pod("p", rule("podAffinity", "web")), snapshot), {
    a: "fits",
    b: "node(s) didn't match pod affinity rules",
  });
  assert.match(judge(pod("p", {}, { app: "web" }), snapshot).get("a")!, /existing pods anti-affinity/);
  assert.match(judge(pod("p", rule("podAntiAffinity", "web")), snapshot).get("a")!, /anti-affinity rules/);
  const first = pod("p", rule("podAffinity", "new"), { app: "new" });
  assert.equal(judge(first, snapshot).get("b"), "fits");
});

test("topology spread keeps the skew", () => {
  const spread = {
    topologySpreadConstraints: [
      {
        topologyKey: "kubernetes.io/hostname",
        maxSkew: 1,
        whenUnsatisfiable: "DoNotSchedule",
        labelSelector: { matchLabels: { app: "web" } },
      },
    ],
  };
  const snapshot = world([node("a"), node("b")], { a: [pod("x", {}, { app: "web" })] });
  assert.deepEqual(outcomes(pod("p", spread, { app: "web" }), snapshot), {
    a: "node(s) didn't match pod topology spread constraints",
    b: "fits",
  });
});

test("the failure message counts reasons as the real scheduler does", () => {
  const refusal = (reason: string): Refusal => ({ reasons: [reason], resolvable: true });
  const refusals = new Map([
    ["a", refusal("Insufficient cpu")],
    ["b", refusal("Insufficient cpu")],
    ["c", refusal("node(s) were unschedulable")],
  ]);
  assert.equal(
    failureMessage(refusals, undefined),
    "0/3 nodes are available: 1 node(s) were unschedulable, 2 Insufficient cpu.",
  );
  assert.equal(failureMessage(new Map(), undefined), "no nodes available to schedule pods");
});

test("siblings spread over equal nodes, and a preferred label wins", () => {
  const owned = (name: string, spec = {}): KubeObject => {
    const made = pod(name, spec);
    made.metadata.ownerReferences = [{ apiVersion: "v1", kind: "X", name: "x", uid: "x", controller: true }];
    return made;
  };
  const snapshot = world([node("a"), node("b", { labels: { disk: "ssd" } })], { b: [owned("first")] });
  assert.equal(bestNode(owned("second"), snapshot.list(), snapshot).name, "a");
  const preference = { matchExpressions: [{ key: "disk", operator: "In", values: ["ssd"] }] };
  const preferring = pod("p", {
    affinity: {
      nodeAffinity: { preferredDuringSchedulingIgnoredDuringExecution: [{ weight: 1, preference }] },
    },
  });
  assert.equal(bestNode(preferring, snapshot.list(), snapshot).name, "b");
});

test("preemption takes the least important pods that make room, and leaves the snapshot as it was", () => {
  const low = pod("low", { ...asking({ cpu: "1" }), priority: 1 });
  const mid = pod("mid", { ...asking({ cpu: "1" }), priority: 5 });
  const snapshot = world([node("a")], { a: [low, mid] });
  const critical = pod("critical", { ...asking({ cpu: "1" }), priority: 100 });
  const refusals = new Map([["a", { reasons: ["Insufficient cpu"], resolvable: true }]]);
  const found = findPreemption(critical, snapshot, refusals);
  assert.deepEqual(
    found?.victims.map(({ metadata }) => metadata.name),
    ["low"],
  );
  assert.equal(snapshot.nodes.get("a")?.pods.size, 2);
  assert.equal(
    findPreemption(pod("p", { ...asking({ cpu: "1" }), priority: 0 }), snapshot, refusals),
    undefined,
  );
});

test("the queue: important first, refused ones wait until the cluster changes", () => {
  let now = 1_000;
  const queue = new SchedulingQueue(() => now);
  queue.put(pod("low"), false);
  queue.put(pod("high", { priority: 10 }), false);
  assert.equal(queue.next()?.metadata.name, "high");
  assert.equal(queue.next()?.metadata.name, "low");
  assert.equal(queue.next(), undefined);
  queue.wake("pod");
  assert.equal(queue.next(), undefined);
  now += 1_000;
  assert.equal(queue.next()?.metadata.name, "high");
  queue.remove("ns/high");
  queue.wake("node");
  assert.equal(queue.next()?.metadata.name, "low");
});
