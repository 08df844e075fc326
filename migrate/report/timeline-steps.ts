// SPDX-License-Identifier: Apache-2.0
import type { Report, ReportStep } from "../model/report.ts";
import { formatCount, formatDuration, timeOf } from "./format.ts";
import { html, type Markup, shorten } from "./html.ts";
import { familyOf } from "./step-look.ts";
import { bar, plotRight, px, type Strip, stripLabel, type TimeScale } from "./time-axis.ts";

const rowHeight = 19;

/** When a step ran; one that has not ended lasts to the picture's end. */
export function ran(step: ReportStep, scale: TimeScale): { startMs: number; endMs: number } | undefined {
  const startMs = timeOf(step.startedAt);
  return startMs === undefined
    ? undefined
    : { startMs, endMs: Math.max(startMs, timeOf(step.endedAt) ?? scale.endMs) };
}

function stepBar(step: ReportStep, scale: TimeScale, y: number): Markup {
  const time = ran(step, scale);
  if (time === undefined) return html``;
  const title = `${step.name}: ${step.title} (${step.state}, ${formatDuration(time.endMs - time.startMs)})${
    step.message === "" ? "" : `\n${shorten(step.message, 160)}`
  }`;
  const failed = step.state === "failed" || step.state === "undoing" ? " failed" : "";
  return bar(
    scale,
    { ...time, y: y + 3, height: rowHeight - 6 },
    { className: familyOf(step) + failed, title },
  );
}

/** One row for the steps of the whole cluster. */
export function clusterStrip(report: Report, scale: TimeScale): Strip {
  const steps = report.steps.filter(({ node }) => node === undefined);
  return {
    height: rowHeight + 3,
    markup: html`${stripLabel("cluster", 13)}${steps.map((step) => stepBar(step, scale, 0))}`,
  };
}

/** One row a node, in the order in which they were begun. */
export function nodesStrip(report: Report, scale: TimeScale): Strip {
  const byNode = Map.groupBy(report.steps, ({ node }) => node);
  const rows = report.nodes.map(({ name, wave, state }, index) => {
    const y = index * rowHeight;
    return html`<line class="grid" x1="6" x2="${plotRight}" y1="${y}" y2="${y}"/>${stripLabel(name, y + 13.5, `${name}: wave ${wave}, ${state}`)}${(
      byNode.get(name) ?? []
    ).map((step) => stepBar(step, scale, y))}`;
  });
  return { height: rows.length * rowHeight + 6, markup: html`${rows}` };
}

/** Stretches of the waves, with their numbers where there is room. */
export function wavesStrip(report: Report, scale: TimeScale, totalHeight: number): Strip {
  const waves = new Map<number, { startMs: number; endMs: number; nodes: Set<string> }>();
  for (const step of report.steps) {
    const time = ran(step, scale);
    if (step.wave === 0 || step.node === undefined || time === undefined) continue;
    const wave = waves.get(step.wave) ?? { ...time, nodes: new Set() };
    wave.startMs = Math.min(wave.startMs, time.startMs);
    wave.endMs = Math.max(wave.endMs, time.endMs);
    waves.set(step.wave, { ...wave, nodes: wave.nodes.add(step.node) });
  }
  if (waves.size === 0 || waves.size > 300) return { height: 0, markup: html`` };
  const bands = [...waves.entries()].map(([number, { startMs, endMs, nodes }]) => {
    const x = scale.x(startMs);
    const width = Math.max(1, scale.x(endMs) - x - 1);
    const names = shorten([...nodes].slice(0, 8).join(", "), 300);
    const title = `wave ${number}: ${nodes.size > 8 ? `${formatCount(nodes.size)} nodes` : names}`;
    const label = width > 52 ? `wave ${number}` : width > 14 ? String(number) : "";
    return html`<rect class="band" x="${px(x)}" y="0" width="${px(width)}" height="${px(totalHeight)}"><title>${title}</title></rect><text x="${px(x + width / 2)}" y="13" text-anchor="middle">${label}</text>`;
  });
  return { height: 19, markup: html`${stripLabel("waves", 13)}${bands}` };
}

/** The line between strips. */
export const frame = (y: number): Markup =>
  html`<line class="frame" x1="6" x2="${plotRight}" y1="${px(y)}" y2="${px(y)}"/>`;
