// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import type { KubeObject } from "../../lib/kube-object.ts";
import { mergeResults } from "./merge.ts";
import { probeProblem } from "./monitor.ts";
import { type Peer, Peers } from "./peers.ts";
import type { NodeResults, ProbeResults } from "./results.ts";
import { ResultStore } from "./store.ts";
import { Tally } from "./tally.ts";

function clock() {
  let ms = Date.parse("2026-01-01T00:00:00Z");
  return { now: () => ms, pass: (by: number) => (ms += by) };
}

const read = (...results: ProbeResults[]): { results: NodeResults; aheadMs: number } => ({
  results: {
    ...{
      node: results[0]!.node,
      role: "pod",
      nowMs: 0,
      state: "running",
      peers: 2,
      counting: true,
      begun: true,
    },
    results,
  },
  aheadMs: 5_000,
});

test("every request is counted once; a loss keeps its time, path and number", () => {
  const { now, pass } = clock();
  const tally = new Tally("n1", "a", now);
  for (let index = 0; index < 10; index++) {
    const sent = tally.sent("http", "cluster-ip", "service");
    pass(index === 4 ? 1_500 : 2);
    if (index === 7) tally.lost(sent, "refused");
    else tally.answered(sent);
    pass(98);
  }
  const { probes, leaving } = mergeResults([read(tally.results(false))], []);
  assert.deepEqual([probes.sent, probes.lost, probes.slow, leaving], [10, 1, 1, 0]);
  assert.equal(probes.maxGapMs, 1_598);
  assert.deepEqual(probes.losses, [
    {
      time: "2025-12-31T23:59:57.198Z",
      ...{
        probe: "http",
        path: "cluster-ip",
        from: "n1",
        to: "service",
        sequence: 8,
        step: "",
        error: "refused",
      },
    },
  ]);
  assert.equal(
    (probes.timeline ?? []).reduce((sum, bucket) => sum + bucket.sent, 0),
    10,
  );
  assert.ok(probes.series[0]!.p50Ms < 5 && probes.series[0]!.p99Ms > 1_000);
});

test("what was asked before the start counts neither as sent nor as lost", () => {
  const { now, pass } = clock();
  const tally = new Tally("n1", "a", now);
  const early = [1, 2].map(() => tally.sent("http", "cluster-ip", "service"));
  pass(10);
  tally.restart();
  const sent = tally.sent("http", "cluster-ip", "service");
  tally.answered(early[0]!);
  tally.lost(early[1]!, "late");
  tally.answered(sent);
  const { probes } = mergeResults([read(tally.results(false))], []);
  assert.deepEqual([probes.sent, probes.lost, probes.losses], [1, 0, []]);
});

test("a target that is moved makes no gap; what follows does", () => {
  const { now, pass } = clock();
  const tally = new Tally("n1", "a", now);
  const ask = () => {
    const sent = tally.sent("udp", "pod", "n2");
    pass(1);
    tally.answered(sent);
  };
  ask();
  const late = tally.sent("udp", "pod", "n2");
  pass(10);
  tally.pause("n2");
  pass(10);
  tally.answered(late);
  pass(60_000);
  ask();
  pass(300);
  ask();
  assert.equal(tally.results(false).series[0]!.maxGapMs, 301);
});

test("a run of many hours keeps its timeline small and loses no count", () => {
  const { now, pass } = clock();
  const tally = new Tally("n1", "a", now);
  for (let index = 0; index < 20_000; index++) {
    tally.answered(tally.sent("dns", "headless", "service"));
    pass(3_000);
  }
  const { buckets, bucketSeconds, series } = tally.results(false);
  assert.ok(buckets.length <= 900 && bucketSeconds > 2, `${buckets.length} of ${bucketSeconds} s`);
  assert.equal(
    buckets.reduce((sum, { sent }) => sum + sent, 0),
    20_000,
  );
  assert.equal(series[0]!.sent, 20_000);
});

test("a stream of a pod that was killed ended with it; one that broke alone is broken", () => {
  const { now } = clock();
  const stream = { to: "n2", path: "pod" as const, openedAtMs: now(), frames: 1, maxGapMs: 1 };
  const killed = new Tally("n1", "a", now);
  killed.streamOpened({ ...stream, id: "killed" });
  const next = new Tally("n1", "b", now);
  next.streamOpened({ ...stream, id: "open" });
  next.streamOpened({ ...stream, id: "broke", end: "broken", endedAtMs: now() });
  next.streamOpened({ ...stream, id: "moved", end: "moved", endedAtMs: now() });
  const reading = mergeResults([read(killed.results(false), next.results(false))], []);
  const { opened, broken, ended, list } = reading.longConnections;
  assert.deepEqual([opened, broken, ended], [4, 1, 2]);
  assert.deepEqual(
    list.filter(({ endMoved }) => endMoved).map(({ id }) => id),
    ["killed", "moved"],
  );
  assert.match(probeProblem(reading, 0) ?? "", /1 long connections broke/);
  assert.equal(probeProblem(reading, 1), undefined);
});

const pod = (name: string, ready: boolean, leaving = false): KubeObject => ({
  metadata: { name, uid: name, ...(leaving ? { deletionTimestamp: "2026-01-01T00:00:00Z" } : {}) },
  spec: { nodeName: `node-${name}` },
  status: {
    podIP: "10.0.0.1",
    hostIP: "10.1.0.1",
    conditions: [{ type: "Ready", status: ready ? "True" : "False" }],
  },
});

test("a pod is asked from when it was first ready until it is told to go, cut off or not", () => {
  const gone: Peer[] = [];
  const peers = new Peers("own", 6, (peer) => gone.push(peer));
  const names = () => peers.targets().map(({ uid }) => uid);
  peers.update(pod("own", true), false);
  peers.update(pod("a", false), false);
  assert.deepEqual(names(), []);
  peers.update(pod("a", true), false);
  peers.update(pod("a", false), false);
  assert.deepEqual(names(), ["a"]);
  peers.update(pod("a", true, true), false);
  assert.deepEqual(names(), []);
  assert.deepEqual([gone.length, peers.isLeaving("a")], [1, true]);
  peers.update(pod("a", true), false);
  assert.deepEqual(names(), [], "what was told to go does not come back");
});

test("of many pods each asks a few, and each is asked by as many", () => {
  const all = Array.from({ length: 30 }, (_, index) => `p${index}`);
  const asked = new Map<string, number>();
  for (const own of all) {
    const peers = new Peers(own, 4, () => {});
    for (const name of all) peers.update(pod(name, true), false);
    for (const { uid } of peers.targets()) asked.set(uid, (asked.get(uid) ?? 0) + 1);
  }
  assert.deepEqual([...new Set(asked.values())], [4]);
  assert.equal(asked.size, 30);
});

test("a node's results outlive its pods; those of another run do not", (t) => {
  const dir = mkdtempSync(path.join(tmpdir(), "shunt-probes-"));
  t.after(() => rmSync(dir, { recursive: true }));
  const results = (id: string) => new Tally("n1", id, Date.now).results(true);
  new ResultStore(dir, "run1", "a").save(results("a"));
  const second = new ResultStore(dir, "run1", "b");
  assert.deepEqual(
    second.earlier.map(({ id }) => id),
    ["a"],
  );
  assert.deepEqual(new ResultStore(dir, "run2", "c").earlier, []);
  assert.deepEqual(readdirSync(dir), ["run2"]);
});
