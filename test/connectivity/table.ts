// SPDX-License-Identifier: Apache-2.0
import { failureMessages } from "./junit.ts";
import type { Outcome, Report, TestResult } from "./report.ts";

/** The report for people: a table, what was skipped and why, what failed with its log, and a summary. */
export function formatReport(report: Report, options: { verbose?: boolean } = {}): string {
  const lines = [...formatTable(report.tests), ...formatSkips(report.tests)];
  for (const test of report.tests)
    for (const entry of test.cases) {
      const failed = entry.outcome === "failed";
      if (!failed && options.verbose !== true) continue;
      lines.push("", `${failed ? "FAILED" : entry.outcome}: ${test.name}/${entry.title}`);
      for (const message of failureMessages(entry)) lines.push(`  ${message}`);
      if (entry.log.length > 0) lines.push("  Log:", ...entry.log.map((line) => `  ${line}`));
    }
  if (report.problems.length > 0) lines.push("", ...report.problems.map((problem) => `Problem: ${problem}`));
  lines.push("", formatSummary(report));
  return `${lines.join("\n")}\n`;
}

function formatTable(tests: readonly TestResult[]): string[] {
  const heads = ["TEST", "PASSED", "FAILED", "SKIPPED", "TIME", "RESULT"];
  const rows = tests.map((test) => {
    const count = (outcome: Outcome): string =>
      String(test.cases.filter((entry) => entry.outcome === outcome).length);
    const time = `${(test.durationMs / 1000).toFixed(1)} s`;
    return [test.name, count("passed"), count("failed"), count("skipped"), time, test.outcome];
  });
  const widths = heads.map((head, column) =>
    Math.max(head.length, ...rows.map((row) => row[column]!.length)),
  );
  const format = (row: string[]): string =>
    row
      .map((cell, column) =>
        column >= 1 && column <= 4 ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!),
      )
      .join("  ")
      .trimEnd();
  return ["", format(heads), ...rows.map(format)];
}

/** Skipped scenarios by their reason, so that one missing thing is said once; whole tests by their name. */
function formatSkips(tests: readonly TestResult[]): string[] {
  const byReason = new Map<string, string[]>();
  for (const test of tests) {
    const skipped = test.cases.filter(({ outcome }) => outcome === "skipped");
    for (const [reason = "", entries] of Map.groupBy(skipped, (entry) => entry.reason)) {
      const isWhole = entries.length === test.cases.length && entries.length > 2;
      const names = isWhole
        ? [`${test.name} (all ${entries.length})`]
        : entries.map(({ title }) => `${test.name}/${title}`);
      byReason.set(reason, [...(byReason.get(reason) ?? []), ...names]);
    }
  }
  const lines = [...byReason].map(([reason, names]) => `  ${names.join(", ")}: ${reason}`);
  return lines.length === 0 ? [] : ["", "Skipped:", ...lines];
}

function formatSummary(report: Report): string {
  const { outcome, scenarios, actions, tests } = report.summary;
  const total = Object.values(tests).reduce((sum, count) => sum + count, 0);
  const verdict = { passed: "PASSED", failed: "FAILED", interrupted: "INTERRUPTED" }[outcome];
  const parts = (["passed", "failed", "skipped", "interrupted"] as const)
    .filter((name) => scenarios[name] > 0)
    .map((name) => `${scenarios[name]} ${name}`);
  const seconds = (report.durationMs / 1000).toFixed(1);
  const of = `${actions.passed + actions.failed} actions in ${total} tests`;
  return `${verdict}: scenarios ${parts.join(", ") || "none"}; ${of}; ${report.cluster.families.join(" and ")}; ${seconds} s`;
}
