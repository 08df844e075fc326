// SPDX-License-Identifier: Apache-2.0
import type { Report } from "../model/report.ts";
import { formatClock, formatCount, formatDate, formatDuration, formatSpan, timeOf } from "./format.ts";
import { html, type Markup, shorten } from "./html.ts";
import { type Cell, type Column, limited, table } from "./table.ts";

const n = (title: string): Column => ({ title, kind: "n" });
const t = (title: string): Column => ({ title, kind: "t" });
const c = (title: string): Column => ({ title });
const ms = (value: number): string => (Number.isFinite(value) ? formatDuration(value) : "");

/** A heading, what is to be said about it, and its content. */
export const section = (title: string, lead: string, ...content: (Markup | undefined)[]): Markup =>
  html`<section><h2>${title}</h2><p>${lead}</p>${content}</section>`;

const path = ({ probe, path: way }: { probe: string; path?: string }): string =>
  way === undefined ? probe : `${probe} by ${way}`;

/** More losses than this are folded under their sums. */
const mostOpenLosses = 20;

/** Requests that got no answer: summed up by step and path, and each with its time. */
export function lossesSection({ probes }: Report): Markup {
  if (probes.lost === 0 && probes.losses.length === 0)
    return section("Lost requests", probes.sent === 0 ? "No probe ran." : "None.");
  const byTime = [...probes.losses].sort((a, b) => (timeOf(a.time) ?? 0) - (timeOf(b.time) ?? 0));
  const { shown, note } = limited(byTime, 500);
  const rows = shown.map((loss) => [
    formatClock(loss.time, true),
    loss.from,
    loss.to,
    path(loss),
    loss.sequence,
    stepOf(loss),
    shorten(loss.error ?? "", 120),
  ]);
  const columns = [
    ...[t("Time (UTC)"), c("From"), c("To"), c("Path"), n("Number"), c("Step then running"), c("Error")],
  ];
  const each = table(columns, rows);
  const lead = `${formatCount(probes.lost)} of ${formatCount(probes.sent)} got no answer.`;
  if (rows.length <= mostOpenLosses) return section("Lost requests", lead, each, note);
  const groups = [...Map.groupBy(byTime, (loss) => `${stepOf(loss)}\n${path(loss)}`).values()];
  const sums = groups.map((group): Cell[] => [
    stepOf(group[0]!),
    path(group[0]!),
    formatCount(group.length),
    formatClock(group[0]!.time, true),
    formatClock(group.at(-1)!.time, true),
  ]);
  return section(
    "Lost requests",
    lead,
    table([c("Step then running"), c("Path"), n("Lost"), t("First (UTC)"), t("Last")], sums),
    html`<details><summary>Each of them</summary>${each}${note}</details>`,
  );
}

const stepOf = ({ step }: { step: string }): string => (step === "" ? "between steps" : step);

/** What each kind of probe saw; the worst first. */
export function probesSection({ probes }: Report): Markup | undefined {
  if (probes.series.length === 0) return undefined;
  const worst = [...probes.series].sort((a, b) => b.lost - a.lost || b.maxGapMs - a.maxGapMs);
  const { shown, note } = limited(worst, 200);
  const rows = shown.map((series): Cell[] => [
    ...[series.probe, series.from, series.to, formatCount(series.sent)],
    series.lost === 0 ? 0 : html`<span class="state-bad">${formatCount(series.lost)}</span>`,
    ...[ms(series.maxGapMs), ms(series.p50Ms), ms(series.p99Ms)],
  ]);
  const columns = [
    ...[c("Probe"), c("From"), c("To"), n("Sent"), n("Lost"), n("Longest gap"), n("Median"), n("99 %")],
  ];
  return section(
    "Probes",
    `What was asked all the time, the most losses and the longest gaps first. ${formatCount(probes.slow)} of all answers were slow.`,
    table(columns, rows),
    note,
  );
}

/** What the applications' own visitors saw. */
export function applicationsSection({ applications }: Report): Markup | undefined {
  if (applications === undefined) return undefined;
  const { sent, lost, longestMs, losses } = applications;
  const { shown, note } = limited(losses, 100);
  const rows = shown.map(({ time, url, error }) => [formatClock(time, true), shorten(url), shorten(error)]);
  return section(
    "Applications",
    `${formatCount(sent)} visits to the cluster's own applications, ${formatCount(lost)} lost; the longest took ${ms(longestMs)}.`,
    rows.length === 0 ? undefined : table([t("Time (UTC)"), c("Address"), c("Error")], rows),
    note,
  );
}

/** Connections that were open from the start. */
export function connectionsSection({ longConnections }: Report): Markup | undefined {
  const { opened, broken, ended, list } = longConnections;
  if (opened === 0) return undefined;
  const rank = (connection: (typeof list)[number]): number =>
    connection.brokenAt === undefined ? 2 : Number(connection.endMoved);
  const { shown, note } = limited(
    [...list].sort((a, b) => rank(a) - rank(b)),
    200,
  );
  const fates = [
    html`<span class="state-bad">broke</span>`,
    "ended: its pod moved",
    html`<span class="state-good">stands</span>`,
  ];
  const rows = shown.map((connection): Cell[] => [
    ...[connection.id, connection.from, connection.to, connection.via],
    formatClock(connection.openedAt),
    fates[rank(connection)]!,
    formatClock(connection.brokenAt, true),
    shorten(connection.error ?? "", 120),
  ]);
  const columns = [
    ...[c("Connection"), c("From"), c("To"), c("Via"), t("Opened"), c("Fate"), t("Until"), c("Error")],
  ];
  return section(
    "Long connections",
    `${formatCount(opened)} opened, ${formatCount(broken)} broken, ${formatCount(ended)} ended because a pod at their end moved. ${stood(list)}`,
    table(columns, rows),
    note,
  );
}

/** Those of the first minute that outlived everything: no end of them was moved. */
function stood(list: Report["longConnections"]["list"]): string {
  const firstMs = Math.min(...list.map(({ openedAt }) => timeOf(openedAt) ?? Number.POSITIVE_INFINITY));
  const count = list.filter(
    ({ openedAt, brokenAt }) => brokenAt === undefined && (timeOf(openedAt) ?? 0) < firstMs + 60_000,
  ).length;
  return `${formatCount(count)} stand that were opened in the first minute.`;
}

const words = (key: string): string =>
  key
    .replace(/[_-]+/g, " ")
    .replace(/([a-z\d])([A-Z])/g, (_, a: string, b: string) => `${a} ${b.toLowerCase()}`);

/** The same figures before and after. */
export function figuresSection({ before, after }: Report): Markup | undefined {
  const keys = [...new Set([...Object.keys(before), ...Object.keys(after)])];
  if (keys.length === 0) return undefined;
  const say = (value: number | undefined): string =>
    typeof value === "number" ? value.toLocaleString("en-US", { maximumFractionDigits: 2 }) : "—";
  const of = (values: Record<string, number>, key: string) =>
    Object.hasOwn(values, key) ? values[key] : undefined;
  const rows = keys.map((key) => {
    const [old, now] = [of(before, key), of(after, key)];
    const difference = old === undefined || now === undefined ? undefined : now - old;
    const sign = difference !== undefined && difference > 0 ? "+" : "";
    return [words(key), say(old), say(now), sign + say(difference)];
  });
  return section(
    "Before and after",
    "Taken before the first step and after the last.",
    table([c("Figure"), n("Before"), n("After"), n("Difference")], rows),
  );
}

/** What of the old network was found at the end. */
export function residueSection({ residue, steps }: Report): Markup {
  if (residue.length === 0) {
    const looked = steps.some(({ kind, state }) => kind === "verify-residue" && state === "done");
    return section("Residue", looked ? "Nothing of the old network is left." : "Not looked for yet.");
  }
  const { shown, note } = limited(residue, 500);
  return section(
    "Residue",
    `${formatCount(residue.length)} of the old network's things are still there.`,
    table(
      [c("Node"), c("Kind"), c("Name"), c("Owner")],
      shown.map(({ node, kind, name, owner }) => [node, kind, shorten(name), owner]),
    ),
    note,
  );
}

/** Findings, blocking ones first. */
export function warningsSection({ warnings }: Report): Markup {
  if (warnings.length === 0) return section("Warnings", "None.");
  const order = ["block", "warn", "info"];
  const sorted = [...warnings].sort((a, b) => order.indexOf(a.severity) - order.indexOf(b.severity));
  const { shown, note } = limited(sorted, 300);
  return section(
    "Warnings",
    `${formatCount(warnings.length)} in all.`,
    table(
      [c("Severity"), c("Object"), c("Problem"), c("Remedy")],
      shown.map(({ severity, object, problem, remedy }) => [
        ...[severity, object, shorten(problem), shorten(remedy)],
      ]),
    ),
    note,
  );
}

function when({ startedAt, endedAt }: Report): string {
  if (startedAt === undefined) return "Not begun";
  if (endedAt === undefined) return `Begun ${formatDate(startedAt)}`;
  return `${formatDate(startedAt)} to ${formatDate(endedAt)} (${formatSpan(startedAt, endedAt)})`;
}

/** Who, where and when, in one line. */
export function facts(report: Report): Markup {
  const { cluster, from } = report;
  return html`<p class="facts">Cluster ${cluster.server} (${cluster.platform}, Kubernetes ${cluster.serverVersion}).
From ${from.network} (${from.mode}) with kube-proxy ${from.kubeProxy} (${from.kubeProxyMode}), strategy ${report.strategy}.
${when(report)}; ${formatDuration(report.expectedSeconds * 1000)} were planned.</p>`;
}
