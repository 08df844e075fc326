// SPDX-License-Identifier: Apache-2.0
import type { CaseResult, Report, TestResult } from "./report.ts";

/** The report as JUnit XML: a test is a testsuite, a scenario in one family is a testcase. */
export function formatJunit(report: Report, properties: Readonly<Record<string, string>> = {}): string {
  const { scenarios } = report.summary;
  const counts = {
    tests: sum(scenarios),
    failures: scenarios.failed + scenarios.interrupted,
    skipped: scenarios.skipped,
    errors: report.problems.length,
  };
  const root = attributes({ name: "shunt connectivity test", ...counts, time: seconds(report.durationMs) });
  const lines = [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites${root}>`,
    ...report.tests.flatMap((test) => formatSuite(report, test, properties)),
    ...report.problems.flatMap((problem, index) => formatProblem(problem, index, properties)),
    "</testsuites>",
  ];
  return `${lines.join("\n")}\n`;
}

function formatSuite(
  report: Report,
  test: TestResult,
  properties: Readonly<Record<string, string>>,
): string[] {
  const count = (outcome: string): number => test.cases.filter((entry) => entry.outcome === outcome).length;
  const head = attributes({
    name: test.name,
    tests: test.cases.length,
    failures: count("failed") + count("interrupted"),
    errors: 0,
    skipped: count("skipped"),
    time: seconds(test.durationMs),
    timestamp: report.startedAt,
  });
  const cases = test.cases.flatMap((entry) => formatCase(test, entry));
  return [`  <testsuite${head}>`, ...formatProperties(properties), ...cases, "  </testsuite>"];
}

function formatProperties(properties: Readonly<Record<string, string>>): string[] {
  const entries = Object.entries(properties);
  if (entries.length === 0) return [];
  const lines = entries.map(([name, value]) => `      <property${attributes({ name, value })}/>`);
  return ["    <properties>", ...lines, "    </properties>"];
}

function formatCase(test: TestResult, entry: CaseResult): string[] {
  const head = attributes({ name: entry.title, classname: test.name, time: seconds(entry.durationMs) });
  if (entry.outcome === "passed") return [`    <testcase${head}/>`];
  if (entry.outcome === "skipped")
    return [
      `    <testcase${head}>`,
      `      <skipped${attributes({ message: entry.reason ?? "" })}/>`,
      "    </testcase>",
    ];
  const message = failureMessages(entry).join("; ");
  const type = entry.outcome === "interrupted" ? "interrupted" : "failure";
  return [
    `    <testcase${head}>`,
    `      <failure${attributes({ message, type })}>${escapeXml(entry.log.join("\n"))}</failure>`,
    "    </testcase>",
  ];
}

/** What failed in a case, one sentence each. */
export function failureMessages(entry: CaseResult): string[] {
  const actions = entry.actions
    .filter((action) => action.error !== undefined && action.outcome === "failed")
    .map((action) => `${action.name}: ${action.error}`);
  return entry.reason === undefined ? actions : [entry.reason, ...actions];
}

function formatProblem(
  problem: string,
  index: number,
  properties: Readonly<Record<string, string>>,
): string[] {
  const name = `problem-${index + 1}`;
  return [
    `  <testsuite${attributes({ name, tests: 0, failures: 0, errors: 1, skipped: 0, time: "0" })}>`,
    ...formatProperties(properties),
    `    <system-err>${escapeXml(problem)}</system-err>`,
    "  </testsuite>",
  ];
}

function sum(counts: Record<string, number>): number {
  return Object.values(counts).reduce((total, count) => total + count, 0);
}

const seconds = (ms: number): string => (ms / 1000).toFixed(3);

function attributes(values: Record<string, string | number>): string {
  return Object.entries(values)
    .map(([name, value]) => ` ${name}="${escapeXml(String(value))}"`)
    .join("");
}

/** Text that any XML 1.0 parser takes: markup escaped, characters that XML cannot carry replaced. */
function escapeXml(text: string): string {
  return text
    .replaceAll(
      /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]|[\ud800-\udbff](?![\udc00-\udfff])/g,
      "?",
    )
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;")
    .replaceAll("\n", "&#10;");
}
