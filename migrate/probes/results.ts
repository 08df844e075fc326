// SPDX-License-Identifier: Apache-2.0
// What a probe pod keeps of what it saw: one document an incarnation, small however long it ran.
import type { ProbeRole } from "./names.ts";

export type ProbeKind = "http" | "udp" | "dns" | "stream";
export type ProbePath = "pod" | "cluster-ip" | "node-port" | "headless";

/** All requests of one kind by one path to one place. */
export interface SeriesResults {
  kind: ProbeKind;
  path: ProbePath;
  /** Target node; `service` where the Service chooses. */
  to: string;
  sent: number;
  lost: number;
  /** Answered, but late. */
  slow: number;
  /** Unanswered by a pod that was already leaving when it was asked: told apart from losses. */
  leaving: number;
  maxGapMs: number;
  /** Answers by the time that they took; bounds as `latencyBounds` has them. */
  latencies: number[];
}

export interface LossRecord {
  /** When it was sent, by the pod's clock, in milliseconds. */
  atMs: number;
  kind: ProbeKind;
  path: ProbePath;
  to: string;
  sequence: number;
  error: string;
}

/** A long TCP connection; the side that opened it keeps the record. */
export interface StreamRecord {
  id: string;
  to: string;
  path: ProbePath;
  openedAtMs: number;
  /** Absent while it stands. */
  endedAtMs?: number;
  /** Why it ended: an end of it was moved, the probes were stopped, or it broke. */
  end?: "moved" | "stopped" | "broken";
  error?: string;
  frames: number;
  maxGapMs: number;
}

export interface BucketResults {
  startMs: number;
  sent: number;
  lost: number;
  slow: number;
  maxGapMs: number;
}

/** Results of one incarnation of a probe pod. */
export interface ProbeResults {
  version: 1;
  node: string;
  /** Pod's UID and its process's start. */
  id: string;
  startedAtMs: number;
  updatedAtMs: number;
  /** True once it has stopped sending and every request has been judged. */
  final: boolean;
  series: SeriesResults[];
  losses: LossRecord[];
  /** Losses beyond those listed. */
  unlistedLosses: number;
  streams: StreamRecord[];
  /** Streams that ended before those listed. */
  unlistedStreams: { opened: number; moved: number };
  bucketSeconds: number;
  buckets: BucketResults[];
}

/** What a probe pod answers at /results: all incarnations on its node, and its clock now. */
export interface NodeResults {
  node: string;
  role: ProbeRole;
  nowMs: number;
  state: "running" | "leaving" | "stopped";
  peers: number;
  /** False while it still waits for every path to work once. */
  counting: boolean;
  /** True once all probes were told that everything runs; counts from before that were dropped. */
  begun: boolean;
  results: ProbeResults[];
}

/** A node has a probe of each role. */
export const keyOf = ({ node, role }: NodeResults): string => (role === "host" ? `${node}.host` : node);

const firstBoundMs = 0.2;
const growth = 1.35;
const bucketCount = 40;

/** Upper bounds of the latency buckets in milliseconds; the last one has none. */
export const latencyBounds: readonly number[] = Array.from(
  { length: bucketCount },
  (_, index) => firstBoundMs * growth ** index,
);

/** The latency that a share of all answers stays under, in milliseconds. */
export function quantile(latencies: readonly number[], share: number): number {
  const total = latencies.reduce((sum, count) => sum + count, 0);
  let seen = 0;
  for (const [index, count] of latencies.entries()) {
    seen += count;
    if (count > 0 && seen >= total * share) return Math.round((latencyBounds[index] ?? 0) * 10) / 10;
  }
  return 0;
}
