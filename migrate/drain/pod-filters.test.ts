// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import type { KubeObject } from "../../lib/kube-object.ts";
import { type DrainOptions, drainSettings } from "./options.ts";
import { judgePod } from "./pod-filters.ts";
import { ownedBy } from "./testing.ts";

const nowMs = Date.parse("2026-01-01T00:10:00Z");
const replicaSet = ownedBy("ReplicaSet", "web-1");
const daemonSet = ownedBy("DaemonSet", "agent");
const mirror = { annotations: { "kubernetes.io/config.mirror": "hash" } };
const emptyDir = { volumes: [{ name: "scratch", emptyDir: {} }] };
const deleted = { deletionTimestamp: "2026-01-01T00:00:00Z" };

const rows: {
  title: string;
  metadata?: object;
  spec?: object;
  phase?: string;
  options?: DrainOptions;
  noDaemonSet?: boolean;
  action: "evict" | "skip" | "refuse";
  says?: RegExp;
}[] = [
  { title: "of a ReplicaSet", metadata: replicaSet, action: "evict" },
  {
    title: "deleted longer ago than asked, before any other filter",
    metadata: { ...deleted, ...daemonSet },
    options: { skipWaitForDeleteTimeoutSeconds: 60 },
    action: "skip",
    says: /deleted more than 60 s ago/,
  },
  {
    title: "deleted less long ago",
    metadata: { ...deleted, ...replicaSet },
    options: { skipWaitForDeleteTimeoutSeconds: 700 },
    action: "evict",
  },
  { title: "deleted, and all waited for", metadata: { ...deleted, ...replicaSet }, action: "evict" },
  { title: "of a DaemonSet", metadata: daemonSet, action: "refuse", says: /ignoreDaemonsets/ },
  {
    title: "of a DaemonSet that is ignored, though it has an emptyDir",
    metadata: daemonSet,
    spec: emptyDir,
    options: { ignoreDaemonsets: true },
    action: "skip",
    says: /DaemonSet/,
  },
  {
    title: "of a DaemonSet with force: still not deleted",
    metadata: daemonSet,
    options: { force: true, ignoreDaemonsets: true },
    action: "skip",
  },
  { title: "finished, of a DaemonSet", metadata: daemonSet, phase: "Failed", action: "evict" },
  {
    title: "of a DaemonSet that is missing, even if DaemonSets are ignored",
    metadata: daemonSet,
    options: { ignoreDaemonsets: true },
    noDaemonSet: true,
    action: "refuse",
    says: /does not exist.*force/,
  },
  {
    title: "of a DaemonSet that is missing, with force",
    metadata: daemonSet,
    options: { force: true },
    noDaemonSet: true,
    action: "evict",
    says: /nothing makes it again/,
  },
  {
    title: "of another group's DaemonSet",
    metadata: ownedBy("DaemonSet", "other", "apps.example.org/v1"),
    action: "evict",
  },
  { title: "mirror of a static pod, before local storage", metadata: mirror, spec: emptyDir, action: "skip" },
  {
    title: "with emptyDir",
    metadata: replicaSet,
    spec: emptyDir,
    action: "refuse",
    says: /scratch.*deleteEmptydirData/,
  },
  {
    title: "with emptyDir, allowed",
    metadata: replicaSet,
    spec: emptyDir,
    options: { deleteEmptydirData: true },
    action: "evict",
    says: /scratch is lost/,
  },
  {
    title: "finished, with emptyDir",
    metadata: replicaSet,
    spec: emptyDir,
    phase: "Succeeded",
    action: "evict",
  },
  { title: "without a controller", action: "refuse", says: /no controller.*force/ },
  {
    title: "without a controller, with force",
    options: { force: true },
    action: "evict",
    says: /no controller/,
  },
  { title: "finished, without a controller", phase: "Succeeded", action: "evict" },
  {
    title: "with an owner that does not control it",
    metadata: { ownerReferences: [{ apiVersion: "v1", kind: "ConfigMap", name: "c", uid: "u" }] },
    action: "refuse",
    says: /no controller/,
  },
];

for (const row of rows)
  test(`a pod ${row.title}: ${row.action}`, () => {
    const pod: KubeObject = {
      metadata: { name: "p", namespace: "default", ...row.metadata },
      spec: row.spec ?? {},
      status: { phase: row.phase ?? "Running" },
    };
    const context = { nowMs, hasDaemonSet: () => row.noDaemonSet !== true };
    const verdict = judgePod(pod, drainSettings(row.options ?? {}), context);
    assert.equal(verdict.action, row.action);
    if (row.says !== undefined) assert.match([verdict.reason, ...verdict.warnings].join(" "), row.says);
  });

test("a pod that loses data and has no controller warns of both", () => {
  const pod: KubeObject = { metadata: { name: "p", namespace: "default" }, spec: emptyDir, status: {} };
  const settings = drainSettings({ force: true, deleteEmptydirData: true });
  assert.equal(judgePod(pod, settings, { nowMs, hasDaemonSet: () => true }).warnings.length, 2);
});

test("options that kubectl refuses are refused, and there always is a deadline", () => {
  for (const options of [{ gracePeriodSeconds: -2 }, { timeoutSeconds: -1 }, { chunkSize: 0 }])
    assert.throws(() => drainSettings(options), /must/);
  assert.throws(() => drainSettings({ dryRun: "maybe" as "none" }), /none, client or server/);
  assert.equal(drainSettings({ timeoutSeconds: 0 }).timeoutSeconds, 1_800);
});
