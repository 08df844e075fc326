// SPDX-License-Identifier: Apache-2.0
import type { Report } from "../model/report.ts";
import { html, type Markup } from "./html.ts";
import { families } from "./step-look.ts";
import { clockStrip, pictureWidth, px, type Strip, timeScale } from "./time-axis.ts";
import { crowdStrip } from "./timeline-crowd.ts";
import { probesStrip } from "./timeline-probes.ts";
import { clusterStrip, frame, nodesStrip, wavesStrip } from "./timeline-steps.ts";

/** More nodes than this share rows. */
const mostNodeRows = 60;

const dot = (className: string, text: string): Markup => html`<li><i class="${className}"></i>${text}`;

/** Waves, nodes, steps and probes against one clock. */
export function timeline(report: Report): Markup {
  const scale = timeScale(report);
  if (scale === undefined) return html`<p class="note">Nothing has begun yet.</p>`;
  const crowded = report.nodes.length > mostNodeRows;
  const middle = [
    clusterStrip(report, scale),
    crowded ? crowdStrip(report, scale) : nodesStrip(report, scale),
  ];
  const middleHeight = middle.reduce((sum, { height }) => sum + height, 0);
  const waves = wavesStrip(report, scale, crowded ? 17 : 17 + middleHeight);
  const below = probesStrip(report, scale);
  const total = 22 + waves.height + middleHeight + 6 + below.height;
  // The clock's lines are drawn over the waves and under all else.
  const strips: Strip[] = [{ height: 22, markup: html`` }, waves, ...middle];
  let y = 0;
  const drawn: Markup[] = [];
  for (const [index, strip] of strips.entries()) {
    drawn.push(html`<g transform="translate(0 ${px(y)})">${strip.markup}</g>`);
    y += strip.height;
    if (index === 1) drawn.push(clockStrip(scale, total).markup);
  }
  const svg = html`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${pictureWidth} ${px(total)}" role="img" aria-label="Steps, nodes and probes over time">${drawn}${frame(y + 2)}<g transform="translate(0 ${px(y + 6)})">${below.markup}</g></svg>`;
  const legend = [
    ...families.map(([family, title]) => dot(family, title)),
    ...[dot("rate", "Requests sent"), dot("lost", "Lost or failed"), dot("slow", "Slow"), dot("gap", "Gaps")],
  ];
  const crowdLegend = crowded
    ? [dot("oldnet", "Nodes on the old network"), dot("newnet", "Nodes switched")]
    : [];
  return html`<div class="scroll picture" tabindex="0">${svg}</div><ul class="legend">${legend}${crowdLegend}</ul>`;
}
