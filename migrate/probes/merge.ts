// SPDX-License-Identifier: Apache-2.0
import type { LongConnection, ProbeBucket, ProbeLoss, ProbeSeries, ReportProbes } from "../model/report.ts";
import {
  type BucketResults,
  latencyBounds,
  type NodeResults,
  type ProbeResults,
  quantile,
  type SeriesResults,
} from "./results.ts";
import { mergeBuckets } from "./tally.ts";

const maxSeries = 1_000;
const maxLosses = 2_000;

/** A node's results with how far its clock is ahead of the reader's. */
export interface ReadResults {
  results: NodeResults;
  /** Milliseconds. */
  aheadMs: number;
}

/** What all probes saw since their start, in the words of the report. */
export interface ProbeReading {
  probes: ReportProbes;
  longConnections: { opened: number; broken: number; ended: number; list: LongConnection[] };
  /** Requests unanswered by a pod that was told to go before they were sent. */
  leaving: number;
  /** Nodes whose probes send now. */
  sending: number;
  /** Nodes whose probes did not answer the reader, with why. */
  unreachable: { node: string; reason: string }[];
  /** The same figures before the first switch and after the last. */
  figures?: { before: Record<string, number>; after: Record<string, number> };
}

const iso = (ms: number): string => new Date(ms).toISOString();

/** Puts together what all nodes' probes kept; all times become the reader's. */
export function mergeResults(
  nodes: readonly ReadResults[],
  unreachable: ProbeReading["unreachable"],
): ProbeReading {
  const all = nodes.flatMap(({ results, aheadMs }) =>
    results.results.map((one, index) => ({ one, aheadMs, isOver: index < results.results.length - 1 })),
  );
  const series = mergeSeries(all.map(({ one }) => one));
  const sum = (key: "sent" | "lost" | "slow" | "leaving"): number =>
    series.reduce((total, { counts }) => total + counts[key], 0);
  const worstGapMs = Math.max(0, ...series.map(({ counts }) => counts.maxGapMs));
  const listed = series
    .map(({ entry }) => entry)
    .sort((a, b) => b.lost - a.lost || b.maxGapMs - a.maxGapMs)
    .slice(0, maxSeries);
  return {
    probes: {
      ...{ sent: sum("sent"), lost: sum("lost"), slow: sum("slow"), maxGapMs: Math.round(worstGapMs) },
      series: listed,
      losses: mergeLosses(all),
      timeline: mergeTimeline(all),
    },
    longConnections: mergeStreams(all),
    leaving: sum("leaving"),
    sending: nodes.filter(
      ({ results }) => results.role === "pod" && results.state === "running" && results.counting,
    ).length,
    unreachable,
  };
}

interface Shifted {
  one: ProbeResults;
  aheadMs: number;
  /** A later incarnation runs on its node. */
  isOver: boolean;
}

function mergeSeries(all: readonly ProbeResults[]): { entry: ProbeSeries; counts: SeriesResults }[] {
  const merged = new Map<string, { from: string; counts: SeriesResults }>();
  for (const { node, series } of all)
    for (const one of series) {
      const key = `${one.kind} ${one.path} ${node} ${one.to}`;
      const into = merged.get(key)?.counts ?? {
        ...one,
        ...{ sent: 0, lost: 0, slow: 0, leaving: 0, maxGapMs: 0, latencies: latencyBounds.map(() => 0) },
      };
      for (const count of ["sent", "lost", "slow", "leaving"] as const) into[count] += one[count];
      into.maxGapMs = Math.max(into.maxGapMs, one.maxGapMs);
      into.latencies = into.latencies.map((count, index) => count + (one.latencies[index] ?? 0));
      merged.set(key, { from: node, counts: into });
    }
  return [...merged.values()].map(({ from, counts }) => ({
    counts,
    entry: {
      ...{ probe: `${counts.kind} ${counts.path}`, from, to: counts.to },
      ...{ sent: counts.sent, lost: counts.lost, maxGapMs: Math.round(counts.maxGapMs) },
      ...{ p50Ms: quantile(counts.latencies, 0.5), p99Ms: quantile(counts.latencies, 0.99) },
    },
  }));
}

function mergeLosses(all: readonly Shifted[]): ProbeLoss[] {
  return all
    .flatMap(({ one, aheadMs }) =>
      one.losses.map(
        (loss): ProbeLoss => ({
          time: iso(loss.atMs - aheadMs),
          ...{ probe: loss.kind, path: loss.path, from: one.node, to: loss.to },
          sequence: loss.sequence,
          step: "",
          error: loss.error,
        }),
      ),
    )
    .sort((a, b) => (a.time < b.time ? -1 : 1))
    .slice(0, maxLosses);
}

function mergeTimeline(all: readonly Shifted[]): ProbeBucket[] {
  const seconds = Math.max(2, ...all.map(({ one }) => one.bucketSeconds));
  const shifted = all.flatMap(({ one, aheadMs }) =>
    one.buckets.map((bucket): BucketResults => ({ ...bucket, startMs: bucket.startMs - aheadMs })),
  );
  return mergeBuckets(shifted, seconds).map(({ startMs, maxGapMs, ...counts }) => ({
    ...{ startedAt: iso(startMs), seconds, ...counts, maxGapMs: Math.round(maxGapMs) },
  }));
}

/** A stream that was open when its own pod was killed ended with that pod. */
function mergeStreams(all: readonly Shifted[]): ProbeReading["longConnections"] {
  const list: LongConnection[] = [];
  let [opened, ended] = [0, 0];
  for (const { one, aheadMs, isOver } of all) {
    opened += one.unlistedStreams.opened;
    ended += one.unlistedStreams.opened;
    for (const stream of one.streams) {
      opened++;
      const end = stream.end ?? (isOver ? "moved" : undefined);
      if (end === "moved" || end === "stopped") ended++;
      const isCut = end === "broken" || end === "moved";
      list.push({
        ...{ id: stream.id, from: one.node, to: stream.to, via: stream.path },
        openedAt: iso(stream.openedAtMs - aheadMs),
        ...(isCut ? { brokenAt: iso((stream.endedAtMs ?? one.updatedAtMs) - aheadMs) } : {}),
        endMoved: end === "moved",
        ...(end === "broken" && stream.error !== undefined ? { error: stream.error } : {}),
      });
    }
  }
  const broken = list.filter(({ brokenAt, endMoved }) => brokenAt !== undefined && !endMoved).length;
  return { opened, broken, ended, list };
}
