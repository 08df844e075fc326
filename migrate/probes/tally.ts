// SPDX-License-Identifier: Apache-2.0
import {
  type BucketResults,
  type LossRecord,
  latencyBounds,
  type ProbeKind,
  type ProbePath,
  type ProbeResults,
  type SeriesResults,
  type StreamRecord,
} from "./results.ts";

const maxLosses = 500;
const maxEndedStreams = 200;
const maxBuckets = 900;
/** An answer that takes longer counts as slow. */
export const slowMs = 1_000;

interface Series extends SeriesResults {
  lastAnswerMs: number | undefined;
  /** Answers to what was sent before say nothing about gaps. */
  resumedMs: number;
}

/** One request under way. */
export interface Sent {
  kind: ProbeKind;
  path: ProbePath;
  to: string;
  sequence: number;
  atMs: number;
}

/** Counts what becomes of every request. Times are milliseconds of one clock that never jumps. */
export class Tally {
  readonly #now: () => number;
  readonly #node: string;
  readonly #id: string;
  readonly #startedAtMs: number;
  readonly #series = new Map<string, Series>();
  readonly #losses: LossRecord[] = [];
  readonly #streams = new Map<string, StreamRecord>();
  readonly #unlistedStreams = { opened: 0, moved: 0 };
  #unlistedLosses = 0;
  #bucketSeconds = 2;
  #buckets: BucketResults[] = [];
  #sequence = 0;
  #countsFromMs = 0;

  constructor(node: string, id: string, now: () => number) {
    this.#node = node;
    this.#id = id;
    this.#now = now;
    this.#startedAtMs = now();
  }

  /** Counts a request as sent and numbers it. */
  sent(kind: ProbeKind, path: ProbePath, to: string): Sent {
    const atMs = this.#now();
    this.#of(kind, path, to).sent++;
    this.#bucket(atMs).sent++;
    return { kind, path, to, sequence: ++this.#sequence, atMs };
  }

  answered(request: Sent): void {
    if (request.atMs < this.#countsFromMs) return;
    const now = this.#now();
    const series = this.#of(request.kind, request.path, request.to);
    const tookMs = now - request.atMs;
    const index = latencyBounds.findIndex((bound) => tookMs <= bound);
    const at = index < 0 ? latencyBounds.length - 1 : index;
    series.latencies[at] = (series.latencies[at] ?? 0) + 1;
    const bucket = this.#bucket(now);
    if (tookMs > slowMs) {
      series.slow++;
      bucket.slow++;
    }
    if (request.atMs < series.resumedMs) return;
    if (series.lastAnswerMs !== undefined) {
      const gapMs = now - series.lastAnswerMs;
      series.maxGapMs = Math.max(series.maxGapMs, gapMs);
      bucket.maxGapMs = Math.max(bucket.maxGapMs, gapMs);
    }
    series.lastAnswerMs = now;
  }

  lost(request: Sent, error: string): void {
    if (request.atMs < this.#countsFromMs) return;
    const { kind, path, to, sequence, atMs } = request;
    this.#of(kind, path, to).lost++;
    this.#bucket(atMs).lost++;
    if (this.#losses.length >= maxLosses) this.#unlistedLosses++;
    else this.#losses.push({ atMs, kind, path, to, sequence, error: error.slice(0, 200) });
  }

  /** No answer from a pod that was on its way out when it was asked. */
  leaving(request: Sent): void {
    if (request.atMs < this.#countsFromMs) return;
    this.#of(request.kind, request.path, request.to).leaving++;
  }

  /** The target is gone for a while on purpose: the time until it is back is no gap. */
  pause(to: string, only?: { kind: ProbeKind; path: ProbePath }): void {
    for (const series of this.#series.values()) {
      const isOther = only !== undefined && (series.kind !== only.kind || series.path !== only.path);
      if (series.to !== to || isOther) continue;
      series.lastAnswerMs = undefined;
      series.resumedMs = this.#now();
    }
  }

  /** Forgets everything but the streams that stand, and what becomes of requests under way: that was getting started. */
  restart(): void {
    this.#countsFromMs = this.#now();
    this.#series.clear();
    this.#losses.length = 0;
    this.#unlistedLosses = 0;
    this.#buckets = [];
    for (const { id, end } of [...this.#streams.values()]) if (end !== undefined) this.#streams.delete(id);
  }

  streamOpened(record: StreamRecord): void {
    this.#streams.set(record.id, record);
    const ended = [...this.#streams.values()].filter(({ end }) => end !== undefined && end !== "broken");
    for (const { id, end } of ended.slice(0, Math.max(0, ended.length - maxEndedStreams))) {
      this.#streams.delete(id);
      this.#unlistedStreams.opened++;
      if (end === "moved") this.#unlistedStreams.moved++;
    }
  }

  results(final: boolean): ProbeResults {
    return {
      version: 1,
      node: this.#node,
      id: this.#id,
      startedAtMs: this.#startedAtMs,
      updatedAtMs: this.#now(),
      final,
      series: [...this.#series.values()].map(({ lastAnswerMs: _, resumedMs: __, ...series }) => series),
      losses: this.#losses,
      unlistedLosses: this.#unlistedLosses,
      streams: [...this.#streams.values()],
      unlistedStreams: this.#unlistedStreams,
      bucketSeconds: this.#bucketSeconds,
      buckets: this.#buckets,
    };
  }

  #of(kind: ProbeKind, path: ProbePath, to: string): Series {
    const key = `${kind} ${path} ${to}`;
    let series = this.#series.get(key);
    if (series === undefined) {
      const counts = { sent: 0, lost: 0, slow: 0, leaving: 0, maxGapMs: 0 };
      series = { kind, path, to, ...counts, latencies: [], lastAnswerMs: undefined, resumedMs: 0 };
      series.latencies = latencyBounds.map(() => 0);
      this.#series.set(key, series);
    }
    return series;
  }

  #bucket(atMs: number): BucketResults {
    const widthMs = this.#bucketSeconds * 1_000;
    const startMs = Math.floor(atMs / widthMs) * widthMs;
    const found = this.#buckets.findLast((bucket) => bucket.startMs === startMs);
    if (found !== undefined) return found;
    const bucket = { startMs, sent: 0, lost: 0, slow: 0, maxGapMs: 0 };
    this.#buckets.push(bucket);
    if (this.#buckets.length <= maxBuckets) return bucket;
    this.#bucketSeconds *= 2;
    this.#buckets = mergeBuckets(this.#buckets, this.#bucketSeconds);
    return this.#bucket(atMs);
  }
}

/** Puts buckets together into ones of `seconds`, aligned to the clock. */
export function mergeBuckets(buckets: readonly BucketResults[], seconds: number): BucketResults[] {
  const merged = new Map<number, BucketResults>();
  for (const bucket of buckets) {
    const startMs = Math.floor(bucket.startMs / (seconds * 1_000)) * seconds * 1_000;
    const into = merged.get(startMs) ?? { startMs, sent: 0, lost: 0, slow: 0, maxGapMs: 0 };
    for (const key of ["sent", "lost", "slow"] as const) into[key] += bucket[key];
    into.maxGapMs = Math.max(into.maxGapMs, bucket.maxGapMs);
    merged.set(startMs, into);
  }
  return [...merged.values()].sort((a, b) => a.startMs - b.startMs);
}
