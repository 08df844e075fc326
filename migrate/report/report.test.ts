// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Report } from "../model/report.ts";
import { escapeHtml } from "./html.ts";
import { makeReport, reportHtml } from "./index.ts";
import { sampleRun, troubledRun } from "./testing.ts";

const figure = (page: string, key: string): string | undefined =>
  new RegExp(`data-figure="${key.replaceAll(".", "\\.")}">([^<]*)<`).exec(page)?.[1];
const number = (text: string | undefined): number => Number(text?.replaceAll(",", ""));

/** Every tag of the page that is not one of ours. */
function strangeTags(page: string): string[] {
  const ours =
    "!doctype html head meta title style body main header h1 h2 div strong p dl dt dd section ul li i table thead tbody tr th td span details summary footer code svg g rect line text".split(
      " ",
    );
  return [...page.matchAll(/<\/?([^\s>/]*)/g)].map(([, tag]) => tag!).filter((tag) => !ours.includes(tag));
}

/** The same report with every string in it replaced, but for words that have a fixed set, and dates. */
function hostile(report: Report, text: string): Report {
  const fixed = new Set(["result", "state", "severity", "via", "kind", "startedAt", "endedAt", "time"]);
  const change = (value: unknown, key: string): unknown => {
    if (typeof value === "string") return fixed.has(key) ? value : text;
    if (Array.isArray(value)) return value.map((item) => change(item, key));
    if (typeof value !== "object" || value === null) return value;
    const entries = Object.entries(value).map(([name, item]) => [name, change(item, name)]);
    return Object.fromEntries(entries);
  };
  const changed = change(report, "") as Report;
  return { ...changed, before: { [text]: 1 }, after: { [text]: 2 } };
}

test("a completed migration: figures of the page are those of the JSON", () => {
  const report = makeReport(...sampleRun(4));
  assert.equal(report.result, "succeeded");
  assert.match(report.reason, /^All 5 nodes moved from flannel to Shunt, none of [\d,]+ requests was lost/);
  assert.ok(report.nodes.every(({ state, podsMoved }) => state === "switched" && podsMoved === 10));
  assert.ok(report.steps.length > 40 && report.steps.every(({ state }) => state === "done"));
  const page = reportHtml(report);
  assert.equal(figure(page, "result"), "Succeeded");
  assert.equal(number(figure(page, "probes.sent")), report.probes.sent);
  assert.equal(number(figure(page, "probes.lost")), report.probes.lost);
  assert.equal(figure(page, "probes.maxGapMs"), "174 ms");
  assert.equal(number(figure(page, "longConnections.opened")), 20);
  assert.equal(number(figure(page, "longConnections.broken")), 0);
  assert.equal(report.longConnections.ended, 3);
  assert.equal(figure(page, "nodes"), "5 of 5");
  for (const { name } of report.steps) assert.ok(page.includes(`>${name}</span>`), name);
  for (const { object } of report.changes) assert.ok(page.includes(escapeHtml(object)), object);
  assert.deepEqual(strangeTags(page), []);
  assert.deepEqual(JSON.parse(JSON.stringify(report)), report);
});

test("a paused one names its reason, its losses, and the step that ran then", () => {
  const report = makeReport(...troubledRun(4));
  assert.equal(report.result, "paused");
  assert.equal(report.reason, "5 requests got lost; 1 of 5 nodes is switched.");
  assert.deepEqual(
    report.nodes.map(({ state }) => state),
    ["switched", "switching", "old", "old", "old"],
  );
  assert.ok(report.probes.losses.every(({ step }) => step === "verify-node/worker-2"));
  assert.ok(
    report.warnings.some(({ id, object }) => id === "step-retried" && object === "step verify-node/worker-2"),
  );
  assert.ok(
    !report.changes.some(({ step }) => step.endsWith("/worker-3")),
    "what was not begun changed nothing",
  );
  const page = reportHtml(report);
  assert.equal(figure(page, "probes.lost"), "5");
  assert.equal(page.match(/http by cluster-ip/g)?.length, 5);
});

test("a success with losses or leftovers says so", () => {
  const [record, evidence] = sampleRun(1);
  const lost = makeReport(record, { probes: { ...evidence.probes, lost: 2 } });
  assert.match(lost.reason, /, but 2 requests of [\d,]+ got lost\.$/);
  assert.match(reportHtml(lost), /class="result bad"/);
  assert.equal(figure(reportHtml(lost), "result"), "Completed with losses");
  const residue = [{ node: "worker-1", kind: "device" as const, name: "flannel.1", owner: "flannel" }];
  const left = makeReport(record, { ...evidence, residue });
  assert.match(left.reason, /, but 1 thing of the old network remained\.$/);
  assert.match(reportHtml(left), /class="result warn"/);
  const url = "http://172.30.0.2:30080/";
  const losses = [{ time: "2026-01-01T00:00:10.000Z", url, error: "ECONNREFUSED" }];
  const applications = { sent: 100, lost: 1, longestMs: 1_200, losses };
  const visited = makeReport(record, { ...evidence, applications });
  assert.match(visited.reason, /, but 1 visit to applications got lost\.$/);
  assert.match(reportHtml(visited), /class="result bad"[\s\S]*100 visits[\s\S]*ECONNREFUSED/);
  const blind = makeReport(record);
  assert.match(blind.reason, /nothing is proven/);
});

test("a rollback and a failure say what holds now", () => {
  const [record, evidence] = sampleRun(1);
  const steps = record.steps.map(({ step, entry }) => ({
    step,
    entry: { ...entry, state: "undone" as const },
  }));
  const back = makeReport({ ...record, steps, state: { ...record.state, phase: "RolledBack" } }, evidence);
  assert.equal(back.result, "rolled-back");
  assert.match(back.reason, /^Everything was taken back/);
  assert.ok(back.nodes.every(({ state }) => state === "old"));
  assert.ok(back.changes.every(({ change }) => change.endsWith("(taken back)")));
  const state = { ...record.state, phase: "Failed" as const, reason: "the API server is gone." };
  assert.equal(
    makeReport({ ...record, state }, evidence).reason,
    "the API server is gone; 2 of 2 nodes are switched.",
  );
});

test("what a step writes of its changes and its pods is taken at its word", () => {
  const [record] = sampleRun(1);
  const changed = [{ object: "Pod shop/web-1", change: "evicted" }];
  record.steps.find(({ step }) => step.name === "drain/worker-1")!.entry.notes = { changed, podsMoved: 4 };
  const report = makeReport(record);
  const changes = report.changes.filter(({ step }) => step === "drain/worker-1");
  assert.deepEqual(changes, [{ object: "Pod shop/web-1", change: "evicted", step: "drain/worker-1" }]);
  assert.equal(report.nodes.find(({ name }) => name === "worker-1")?.podsMoved, 5);
});

test("differences between the network and policies that were accepted are a warning", () => {
  const [record] = sampleRun(1);
  const { entry } = record.steps.find(({ step }) => step.name === "start-probes")!;
  assert.deepEqual(makeReport(record).warnings, []);
  entry.notes = { differences: 0, examples: [] };
  assert.deepEqual(makeReport(record).warnings, []);
  entry.notes = { differences: 2, examples: ["shop/web to shop/db"] };
  const [{ id, severity, problem }] = makeReport(record).warnings as [any];
  assert.deepEqual([id, severity], ["policy-differences", "warn"]);
  assert.match(problem, /with 2 connections, which was accepted: shop\/web to shop\/db$/);
});

test("whatever the cluster's objects are called, it stays text", () => {
  const attacks = [
    `<script>alert(1)</script>`,
    `"><img src=x onerror=alert(1)>`,
    `' onmouseover='alert(1)`,
    `</style></title></svg><iframe>`,
    "]]><!--",
    "&lt;b&gt;",
  ];
  for (const text of attacks) {
    const page = reportHtml(hostile(makeReport(...troubledRun(2)), text));
    assert.deepEqual(strangeTags(page), [], text);
    assert.ok(!page.includes(text), text);
    assert.ok(page.includes(escapeHtml(text)), text);
  }
  assert.equal(escapeHtml("a\u202eb\u0000c\ud800"), "a\ufffdb\ufffdc\ufffd");
});

test("nothing is fetched and nothing runs", () => {
  const page = reportHtml(makeReport(...sampleRun(2)));
  assert.doesNotMatch(page, /<script|<link|<img|@import|url\(|src=|\son\w+=/i);
  assert.match(page, /default-src 'none'/);
});

test("a migration that has not begun", () => {
  const [record] = sampleRun(0);
  const entry = { state: "pending" as const, attempts: 0 };
  const steps = record.steps.map(({ step }) => ({ step, entry }));
  const report = makeReport({ ...record, steps, state: { phase: "Pending", reason: "" } });
  assert.equal(report.result, "running");
  assert.deepEqual(report.changes, []);
  const page = reportHtml(report);
  assert.match(page, /Nothing has begun yet/);
  assert.doesNotMatch(page, /NaN|undefined|Infinity/);
});

test("5,000 nodes with the longest names: the picture sums up, the file stays below 5 MB", () => {
  const report = makeReport(...sampleRun(5000));
  const long = (name: string): string => name.padEnd(250, "<");
  const big: Report = {
    ...report,
    steps: report.steps.map((step) => ({
      ...step,
      ...(step.node === undefined ? {} : { node: long(step.node), name: `${step.kind}/${long(step.node)}` }),
      message: "m".repeat(1000),
    })),
    nodes: report.nodes.map((node) => ({ ...node, name: long(node.name) })),
    changes: report.changes.map((change) => ({ ...change, object: long(change.object) })),
  };
  assert.equal(report.nodes.filter(({ state }) => state === "switched").length, 5001);
  for (const page of [reportHtml(report), reportHtml(big)]) {
    assert.ok(Buffer.byteLength(page) < 5_000_000, `${Buffer.byteLength(page)} bytes`);
    assert.ok((page.match(/<rect/g)?.length ?? 0) < 4000);
    assert.equal(figure(page, "nodes"), "5,001 of 5,001");
  }
});
