// SPDX-License-Identifier: Apache-2.0
import type { Report } from "../model/report.ts";
import { formatClock, formatCount, timeOf } from "./format.ts";
import { html, type Markup } from "./html.ts";
import { families, familyOf } from "./step-look.ts";
import { plotLeft, plotRight, px, type Strip, stripLabel, type TimeScale } from "./time-axis.ts";
import { ran } from "./timeline-steps.ts";

const columns = 240;
const columnWidth = (plotRight - plotLeft) / columns;

/** How many of these stretches of time touch each column. */
function crowd(times: Iterable<{ startMs: number; endMs: number }>, scale: TimeScale): number[] {
  const change = new Array<number>(columns + 1).fill(0);
  const columnMs = (scale.endMs - scale.startMs) / columns;
  const at = (time: number): number =>
    Math.min(columns - 1, Math.max(0, Math.floor((time - scale.startMs) / columnMs)));
  for (const { startMs, endMs } of times) {
    change[at(startMs)]! += 1;
    change[at(endMs) + 1]! -= 1;
  }
  let count = 0;
  return change.slice(0, columns).map((step) => (count += step));
}

/** Columns from a floor upwards; `below` is what stands under each. */
function area(
  values: readonly number[],
  scale: TimeScale,
  look: {
    className: string;
    y: number;
    height: number;
    max: number;
    what: string;
    below?: readonly number[];
  },
): Markup[] {
  const columnMs = (scale.endMs - scale.startMs) / columns;
  return values.flatMap((value, column) => {
    if (value === 0) return [];
    const height = Math.max(1, (value / look.max) * look.height);
    const under = ((look.below?.[column] ?? 0) / look.max) * look.height;
    const clock = formatClock(new Date(scale.startMs + column * columnMs).toISOString());
    return html`<rect class="${look.className}" x="${px(plotLeft + column * columnWidth)}" y="${px(look.y + look.height - under - height)}" width="${px(columnWidth + 0.7)}" height="${px(height)}"><title>${clock}: ${formatCount(value)} ${look.what}</title></rect>`;
  });
}

/** Too many nodes for a row each: how many were switched, and how many were in which kind of step, over time. */
export function crowdStrip(report: Report, scale: TimeScale): Strip {
  const height = 90;
  const total = Math.max(1, report.nodes.length);
  const times = (kind: "switching" | "switched") =>
    report.nodes.flatMap(({ startedAt, endedAt, state }) => {
      const start = timeOf(startedAt);
      if (start === undefined) return [];
      const end = state === "switched" ? (timeOf(endedAt) ?? scale.endMs) : scale.endMs;
      if (kind === "switching") return [{ startMs: start, endMs: end }];
      return state === "switched" ? [{ startMs: end, endMs: scale.endMs }] : [];
    });
  const switched = crowd(times("switched"), scale);
  // A node that is switched within a column counts as switched there.
  const switching = crowd(times("switching"), scale).map((count, column) =>
    Math.max(0, Math.min(count, total - switched[column]!)),
  );
  const markup = [
    stripLabel("nodes", 13, "nodes by their state"),
    html`<text x="6" y="30">${formatCount(report.nodes.length)} in all</text>`,
    html`<rect class="oldnet" x="${plotLeft}" y="0" width="${plotRight - plotLeft}" height="${height}"><title>nodes on the old network</title></rect>`,
    ...area(switched, scale, { className: "newnet", y: 0, height, max: total, what: "nodes switched" }),
    ...area(switching, scale, {
      ...{ className: "switch", y: 0, height, max: total, what: "nodes in between", below: switched },
    }),
  ];
  let y = height + 8;
  for (const [family, title] of families) {
    const steps = report.steps.filter((step) => step.node !== undefined && familyOf(step) === family);
    if (steps.length === 0) continue;
    const counts = crowd(
      steps.flatMap((step) => ran(step, scale) ?? []),
      scale,
    );
    const max = Math.max(1, ...counts);
    markup.push(
      stripLabel(title, y + 15),
      ...area(counts, scale, {
        className: family,
        y,
        height: 20,
        max,
        what: `steps: ${title.toLowerCase()}`,
      }),
    );
    y += 25;
  }
  return { height: y + 3, markup: html`${markup}` };
}
