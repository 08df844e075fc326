// SPDX-License-Identifier: Apache-2.0
import type { ProbeBucket, Report } from "../model/report.ts";
import { formatClock, formatCount, formatDuration, timeOf } from "./format.ts";
import { html, type Markup } from "./html.ts";
import { bar, px, type Strip, stripLabel, type TimeScale } from "./time-axis.ts";

interface Bucket extends ProbeBucket {
  startMs: number;
  endMs: number;
}

const mostBuckets = 300;

/** No more buckets than the picture has room for: neighbours become one, and nothing of them is lost. */
function fitting(timeline: readonly ProbeBucket[]): Bucket[] {
  const all = timeline
    .flatMap((bucket): Bucket[] => {
      const startMs = timeOf(bucket.startedAt);
      return startMs === undefined ? [] : [{ ...bucket, startMs, endMs: startMs + bucket.seconds * 1000 }];
    })
    .sort((a, b) => a.startMs - b.startMs);
  const together = Math.ceil(all.length / mostBuckets);
  const fitted: Bucket[] = [];
  for (let index = 0; index < all.length; index += together) {
    const merged = { ...all[index]! };
    for (const next of all.slice(index + 1, index + together)) {
      for (const key of ["sent", "lost", "slow", "seconds"] as const) merged[key] += next[key];
      merged.maxGapMs = Math.max(merged.maxGapMs, next.maxGapMs);
      merged.endMs = Math.max(merged.endMs, next.endMs);
    }
    fitted.push(merged);
  }
  return fitted;
}

const clock = (ms: number): string => formatClock(new Date(ms).toISOString());

/** The probes against the same clock: requests a second, what got lost, what was slow, and the gaps. */
export function probesStrip(report: Report, scale: TimeScale): Strip {
  const buckets = fitting(report.probes.timeline ?? []);
  const rate = ratePart(buckets, scale);
  const lost = lostPart(report, buckets, scale);
  const slow = slowPart(buckets, scale);
  const gaps = gapPart(buckets, scale);
  let y = 4;
  const markup: Markup[] = [];
  for (const part of [rate, lost, slow, gaps]) {
    markup.push(html`<g transform="translate(0 ${px(y)})">${part.markup}</g>`);
    y += part.height;
  }
  return { height: y, markup: html`${markup}` };
}

/** Rectangles whose height says how much; the label on the left says what the highest means. */
function columns(
  buckets: readonly Bucket[],
  scale: TimeScale,
  look: {
    name: string;
    className: string;
    height: number;
    valueOf: (bucket: Bucket) => number;
    say: (value: number) => string;
  },
): Strip {
  const max = buckets.reduce((most, bucket) => Math.max(most, look.valueOf(bucket)), 0);
  const bars = buckets.map((bucket) => {
    const value = look.valueOf(bucket);
    if (!(value > 0)) return html``;
    const height = Math.max(1.5, (value / max) * look.height);
    const title = `${clock(bucket.startMs)}–${clock(bucket.endMs)}: ${look.say(value)}`;
    return bar(
      scale,
      { ...bucket, y: look.height - height, height, overlap: 0.7 },
      { className: look.className, title },
    );
  });
  const top = max > 0 ? `up to ${look.say(max)}` : "none";
  return {
    height: look.height + 10,
    markup: html`${stripLabel(look.name, look.height / 2 - 1)}<text x="6" y="${px(look.height / 2 + 13)}">${top}</text>${bars}`,
  };
}

const ratePart = (buckets: readonly Bucket[], scale: TimeScale): Strip =>
  columns(buckets, scale, {
    name: "requests sent",
    className: "rate",
    height: 46,
    valueOf: ({ sent, seconds }) => (seconds > 0 ? sent / seconds : 0),
    say: (value) => `${formatCount(Math.round(value))} a second`,
  });

const slowPart = (buckets: readonly Bucket[], scale: TimeScale): Strip =>
  columns(buckets, scale, {
    name: "slow",
    className: "slow",
    height: 28,
    valueOf: ({ slow }) => slow,
    say: (value) => `${formatCount(value)} requests`,
  });

const gapPart = (buckets: readonly Bucket[], scale: TimeScale): Strip =>
  columns(buckets, scale, {
    name: "longest gap",
    className: "gap",
    height: 34,
    valueOf: ({ maxGapMs }) => maxGapMs,
    say: formatDuration,
  });

/** Every lost request by its own time; buckets alone when there are too many, or no list. */
function lostPart(report: Report, buckets: readonly Bucket[], scale: TimeScale): Strip {
  const { losses, lost } = report.probes;
  const height = 22;
  const each = losses.length > 0 && losses.length <= 400;
  const marks = each
    ? losses.flatMap(({ time, probe, from, to, step }) => {
        const startMs = timeOf(time);
        const title = `${formatClock(time, true)}: ${probe} from ${from} to ${to} lost${step === "" ? "" : ` while ${step} ran`}`;
        if (startMs === undefined) return [];
        return bar(scale, { startMs, endMs: startMs, y: 0, height }, { className: "lost", title });
      })
    : buckets
        .filter((bucket) => bucket.lost > 0)
        .map((bucket) =>
          bar(
            scale,
            { ...bucket, y: 0, height },
            {
              className: "lost",
              title: `${clock(bucket.startMs)}: ${formatCount(bucket.lost)} requests lost`,
            },
          ),
        );
  return {
    height: height + 10,
    markup: html`${stripLabel("lost", 10)}<text x="6" y="23">${lost === 0 ? "none" : formatCount(lost)}</text>${marks}`,
  };
}
