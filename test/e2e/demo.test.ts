// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, test } from "node:test";
import type { Report } from "../../migrate/model/report.ts";
import { listSandboxClusters } from "../clusters/index.ts";
import { shunt } from "./cluster-under-test.ts";
import { requireNoLoss } from "./losses.ts";

const name = "e2e-demo";
const folder = mkdtempSync(path.join(tmpdir(), "shunt-e2e-demo-"));
after(async () => {
  await shunt(["cluster", "delete", "--name", name], { timeoutMs: 120_000 });
  rmSync(folder, { recursive: true, force: true });
});

const read = (file: string): string => readFileSync(path.join(folder, file), "utf8");

test("the demo migrates four nodes under load, and loses nothing", async (t) => {
  const { stdout } = await shunt(["demo", "--name", name, "--report-dir", folder], {
    timeoutMs: 900_000,
    allowFailure: true,
  });
  const report = JSON.parse(read("report.json")) as Report;
  assert.equal(report.result, "succeeded", report.reason);
  requireNoLoss(report, t);
  assert.match(stdout, /Done: nothing was lost\./);
  assert.equal(report.applications?.lost, 0, JSON.stringify(report.applications?.losses.slice(0, 20)));
  assert.deepEqual(report.residue, []);
  assert.equal(
    report.steps.find(({ kind }) => kind === "enforce-policies")?.message,
    "policies are enforced on 4 nodes",
  );

  // What makes the zeros worth something.
  const { startedAt, endedAt } = report;
  const seconds = (Date.parse(endedAt!) - Date.parse(startedAt!)) / 1_000;
  const askedSeconds = seconds - secondsOf(report, "install-standby") - secondsOf(report, "start-probes");
  assert.ok(report.probes.sent > 100 * askedSeconds, `${report.probes.sent} requests in ${askedSeconds} s`);
  assert.ok(report.applications!.sent > 5 * seconds, `${report.applications!.sent} visits`);
  const stood = report.longConnections.list.filter(
    ({ brokenAt, openedAt }) =>
      brokenAt === undefined && openedAt < report.steps.find(({ kind }) => kind === "cordon")!.startedAt!,
  );
  assert.ok(stood.length >= 20, `${stood.length} long connections stood from the first switch to the end`);
  assert.deepEqual([...new Set(stood.map(({ via }) => via))].sort(), ["cluster-ip", "node-port"]);
  assert.deepEqual([...new Set(report.nodes.map(({ state }) => state))], ["switched"]);
  assert.equal(report.nodes.length, 4);

  assert.match(read("connectivity.xml"), /<testsuites [^>]*failures="0"/);
  assert.match(read("report.html"), /^<!doctype html>[\s\S]*Succeeded/);
  assert.ok(!listSandboxClusters().some((cluster) => cluster.name === name), "the cluster is gone");
});

function secondsOf(report: Report, kind: string): number {
  const step = report.steps.find((one) => one.kind === kind)!;
  return (Date.parse(step.endedAt!) - Date.parse(step.startedAt!)) / 1_000;
}
