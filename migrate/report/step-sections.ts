// SPDX-License-Identifier: Apache-2.0
import type { StepKindName } from "../model/plan.ts";
import type { Report, ReportStep } from "../model/report.ts";
import { formatClock, formatCount, formatDuration, formatSpan, timeOf } from "./format.ts";
import { html, type Markup, shorten } from "./html.ts";
import { section } from "./sections.ts";
import { toneOf } from "./step-look.ts";
import { type Cell, type Column, limited, table } from "./table.ts";

/** More steps than this are summed up by kind; the nodes' table has each one's duration. */
const mostStepRows = 400;

const kindWords = (kind: string): string => kind.replaceAll("-", " ").replace("kube proxy", "kube-proxy");

const nodeTones: Record<string, string> = { old: "state-soft", switched: "state-good" };

/** The nodes, with how long each of their steps took. */
export function nodesSection(report: Report): Markup | undefined {
  if (report.nodes.length === 0) return undefined;
  const own = report.steps.filter(({ node }) => node !== undefined);
  const kinds = [...new Set(own.map(({ kind }) => kind))];
  const byName = new Map(own.map((step) => [`${step.kind}/${step.node}`, step]));
  const columns: Column[] = [
    ...[{ title: "Node" }, { title: "Roles" }, { title: "Wave", kind: "n" as const }, { title: "State" }],
    ...[
      { title: "Begun", kind: "t" as const },
      { title: "Took", kind: "n" as const },
    ],
    ...[{ title: "Pods moved", kind: "n" as const }],
    ...kinds.map((kind) => ({ title: kindWords(kind), kind: "n" as const })),
  ];
  const rows = report.nodes.map((node): Cell[] => [
    shorten(node.name, 120),
    node.roles.join(", "),
    node.wave,
    html`<span class="${nodeTones[node.state] ?? ""}">${node.state}</span>`,
    formatClock(node.startedAt),
    formatSpan(node.startedAt, node.endedAt),
    formatCount(node.podsMoved),
    ...kinds.map((kind) => stepCell(byName.get(`${kind}/${node.name}`))),
  ]);
  return section("Nodes", "When each was switched, and how long its steps took.", table(columns, rows));
}

function stepCell(step: ReportStep | undefined): Cell {
  if (step === undefined || step.state === "pending") return "";
  if (step.state === "done") return formatSpan(step.startedAt, step.endedAt);
  return html`<span class="${toneOf(step.state)}">${step.state}</span>`;
}

const changesOf = (report: Report): Map<string, Report["changes"]> =>
  Map.groupBy(report.changes, ({ step }) => step);

/** The steps: each one, or each kind when there are too many, and then every one that did not go smoothly. */
export function stepsSection(report: Report): Markup {
  const crowded = report.steps.length > mostStepRows;
  const single = crowded ? report.steps.filter(needsRow) : report.steps;
  const { shown, note } = limited(single, mostStepRows);
  const changes = changesOf(report);
  const columns: Column[] = [
    ...[{ title: "Step" }, { title: "State" }, { title: "Begun", kind: "t" as const }],
    ...[{ title: "Took", kind: "n" as const }, { title: "Outcome" }, { title: "Changed" }],
  ];
  const rows = shown.map((step): Cell[] => [
    html`<span title="${step.title}">${shorten(step.name, 120)}</span>`,
    html`<span class="${toneOf(step.state)}">${step.state}${step.attempts > 1 ? ` (${step.attempts} times begun)` : ""}</span>`,
    formatClock(step.startedAt),
    formatSpan(step.startedAt, step.endedAt),
    shorten(step.message),
    changeList(changes.get(step.name) ?? []),
  ]);
  const lead = crowded
    ? `${formatCount(report.steps.length)} steps, summed up by kind; below them those of the cluster, and those that did not end at once.`
    : "What ran, when, and what it changed.";
  return section("Steps", lead, crowded ? kindsTable(report) : undefined, table(columns, rows), note);
}

const needsRow = ({ node, state, attempts }: ReportStep): boolean =>
  node === undefined || state === "failed" || state === "undoing" || state === "undone" || attempts > 1;

function changeList(changes: Report["changes"]): Cell {
  if (changes.length === 0) return "";
  const items = changes
    .slice(0, 20)
    .map(({ object, change }) => html`<li>${shorten(object, 120)}: ${shorten(change)}`);
  return html`<ul class="plain-list">${items}${changes.length > 20 ? html`<li>and ${changes.length - 20} more` : ""}</ul>`;
}

function kindsTable(report: Report): Markup {
  const groups = Map.groupBy(
    report.steps.filter(({ node }) => node !== undefined),
    ({ kind }) => kind,
  );
  const rows = [...groups].map(([kind, steps]) => kindRow(kind, steps));
  const n = (title: string): Column => ({ title, kind: "n" });
  return table(
    [{ title: "Kind" }, n("Steps"), n("Done"), n("Failed"), n("Shortest"), n("Median"), n("Longest")],
    rows,
  );
}

function kindRow(kind: StepKindName, steps: readonly ReportStep[]): Cell[] {
  const took = steps
    .flatMap(({ startedAt, endedAt }) => {
      const [start, end] = [timeOf(startedAt), timeOf(endedAt)];
      return start === undefined || end === undefined ? [] : end - start;
    })
    .sort((a, b) => a - b);
  const say = (value: number | undefined): string => (value === undefined ? "" : formatDuration(value));
  const count = (...states: string[]): string =>
    formatCount(steps.filter(({ state }) => states.includes(state)).length);
  return [
    kindWords(kind),
    formatCount(steps.length),
    count("done", "skipped"),
    count("failed"),
    say(took[0]),
    say(took[took.length >> 1]),
    say(took.at(-1)),
  ];
}

const mostChangeGroups = 400;
const mostObjectsOfGroup = 100;

/** Every object that was changed, by what was done to it. */
export function changesSection(report: Report): Markup {
  if (report.changes.length === 0) return section("Objects changed", "None.");
  const groups = [
    ...Map.groupBy(report.changes, ({ change, step }) => `${step.split("/", 1)[0]}\n${change}`).values(),
  ];
  const { shown, note } = limited(groups, mostChangeGroups);
  const rows = shown.map((group): Cell[] => {
    const objects = [...new Set(group.map(({ object }) => object))];
    const names = objects
      .slice(0, mostObjectsOfGroup)
      .map((object) => shorten(object, 120))
      .join(", ");
    const more = objects.length - mostObjectsOfGroup;
    const all = `${names}${more > 0 ? ` and ${formatCount(more)} more, all in report.json` : ""}`;
    const cell =
      objects.length <= 5
        ? all
        : html`<details><summary>${formatCount(objects.length)} objects</summary><p>${all}</p></details>`;
    return [cell, shorten(group[0]!.change), kindWords(group[0]!.step.split("/", 1)[0]!)];
  });
  return section(
    "Objects changed",
    `${formatCount(report.changes.length)} changes in all.`,
    table([{ title: "Object" }, { title: "Change" }, { title: "By step" }], rows),
    note,
  );
}
