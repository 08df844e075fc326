// SPDX-License-Identifier: Apache-2.0
import type { Report } from "../model/report.ts";
import { timeOf } from "./format.ts";
import { html, type Markup } from "./html.ts";

/** Units of the picture; it is scaled to the page. */
export const pictureWidth = 1200;
export const plotLeft = 150;
export const plotRight = 1185;

/** One strip of the picture, drawn from its own zero downwards. */
export interface Strip {
  height: number;
  markup: Markup;
}

/** Where a time is on the common axis. */
export interface TimeScale {
  startMs: number;
  endMs: number;
  x(timeMs: number): number;
}

/** From the first to the last thing that the report knows a time of; undefined when it knows of none. */
export function timeScale(report: Report): TimeScale | undefined {
  const dates = [report.startedAt, report.endedAt];
  for (const step of report.steps) dates.push(step.startedAt, step.endedAt);
  const { timeline = [], losses } = report.probes;
  for (const loss of losses) dates.push(loss.time);
  let startMs = Number.POSITIVE_INFINITY;
  let endMs = Number.NEGATIVE_INFINITY;
  const see = (time: number | undefined, lengthMs = 0): void => {
    if (time === undefined) return;
    startMs = Math.min(startMs, time);
    endMs = Math.max(endMs, time + lengthMs);
  };
  for (const date of dates) see(timeOf(date));
  for (const bucket of timeline) see(timeOf(bucket.startedAt), bucket.seconds * 1000);
  if (startMs > endMs) return undefined;
  endMs = Math.max(endMs, startMs + 1000);
  const width = (plotRight - plotLeft) / (endMs - startMs);
  return { startMs, endMs, x: (timeMs) => plotLeft + (timeMs - startMs) * width };
}

const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;
const tickLengths = [
  ...[1, 2, 5, 10, 15, 30].map((count) => count * second),
  ...[1, 2, 5, 10, 15, 30].map((count) => count * minute),
  ...[1, 2, 3, 6, 12, 24, 48, 168].map((count) => count * hour),
];

/** Number of a picture: one decimal is finer than any screen. */
export const px = (value: number): string => (Math.round(value * 10) / 10).toString();

/** The clock above, and lines through all strips. */
export function clockStrip(scale: TimeScale, totalHeight: number): Strip {
  const length = scale.endMs - scale.startMs;
  const tick = tickLengths.find((candidate) => length / candidate <= 10) ?? length / 8;
  const marks: Markup[] = [];
  for (let time = Math.ceil(scale.startMs / tick) * tick; time <= scale.endMs; time += tick) {
    const iso = new Date(time).toISOString();
    const label =
      tick >= 24 * hour ? iso.slice(5, 10) : tick < minute ? iso.slice(11, 19) : iso.slice(11, 16);
    const x = px(scale.x(time));
    const textX = px(Math.min(scale.x(time), plotRight - 12));
    marks.push(
      html`<line class="grid" x1="${x}" x2="${x}" y1="18" y2="${totalHeight}"/><text x="${textX}" y="13" text-anchor="middle">${label}</text>`,
    );
  }
  return { height: 22, markup: html`<text x="6" y="13">UTC</text>${marks}` };
}

/** A bar between two times, never too thin to be seen or to be pointed at. */
export function bar(
  scale: TimeScale,
  place: { startMs: number; endMs: number; y: number; height: number; overlap?: number },
  look: { className: string; title: string },
): Markup {
  const x = scale.x(place.startMs);
  const width = Math.max(1.6, scale.x(place.endMs) - x) + (place.overlap ?? 0);
  return html`<rect class="${look.className}" x="${px(x)}" y="${px(place.y)}" width="${px(width)}" height="${px(place.height)}" rx="1"><title>${look.title}</title></rect>`;
}

/** The name of a strip, to its left. */
export const stripLabel = (text: string, y: number, title = text): Markup =>
  html`<text class="label" x="6" y="${px(y)}">${text.length > 21 ? `${text.slice(0, 9)}…${text.slice(-10)}` : text}<title>${title}</title></text>`;
