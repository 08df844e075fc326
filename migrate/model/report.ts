// SPDX-License-Identifier: Apache-2.0
// What a migration was.
import type { Finding } from "./inventory.ts";
import type { StepState } from "./journal.ts";
import type { Plan, StepKindName, Strategy } from "./plan.ts";

export interface ReportStep {
  name: string;
  kind: StepKindName;
  node?: string;
  wave: number;
  title: string;
  state: StepState;
  startedAt?: string;
  endedAt?: string;
  attempts: number;
  message: string;
  changes: string[];
}

export interface ReportNode {
  name: string;
  roles: string[];
  wave: number;
  state: "old" | "switching" | "switched";
  startedAt?: string;
  endedAt?: string;
  podsMoved: number;
}

export interface ProbeLoss {
  time: string;
  probe: string;
  from: string;
  to: string;
  sequence: number;
  /** The step that ran then. */
  step: string;
  /** What the prober was told, if anything. */
  error?: string;
  /** How it goes: pod, cluster-ip, node-port, headless; absent when the probe's name says it. */
  path?: string;
}

/** One kind of probe between one pair of places. */
export interface ProbeSeries {
  probe: string;
  from: string;
  to: string;
  sent: number;
  lost: number;
  maxGapMs: number;
  p50Ms: number;
  p99Ms: number;
}

export interface ReportProbes {
  sent: number;
  lost: number;
  /** Longest time between two answers of one series. */
  maxGapMs: number;
  slow: number;
  series: ProbeSeries[];
  losses: ProbeLoss[];
  /** All probes together over time, for the picture. */
  timeline?: ProbeBucket[];
}

/** What all probes did in a stretch of time. */
export interface ProbeBucket {
  startedAt: string;
  seconds: number;
  sent: number;
  lost: number;
  slow: number;
  /** Longest gap that ended in it. */
  maxGapMs: number;
}

export interface LongConnection {
  id: string;
  from: string;
  to: string;
  via: "pod" | "cluster-ip" | "node-port" | "headless";
  openedAt: string;
  /** Absent while it stands. */
  brokenAt?: string;
  /** True when one of its ends was on a node that was drained: it had to end. */
  endMoved: boolean;
  /** Why it broke, if it did. */
  error?: string;
}

/** Something of the old network that is left on a node. */
export interface ResidueItem {
  node: string;
  kind: "device" | "route" | "rule" | "chain" | "table" | "sysctl" | "file" | "ipset" | "object" | "process";
  name: string;
  owner: string;
}

/** What somebody saw who used the cluster's own applications meanwhile. */
export interface ApplicationVisits {
  sent: number;
  lost: number;
  longestMs: number;
  /** The first of the lost ones. */
  losses: { time: string; url: string; error: string }[];
}

/** The evidence at the end; `report.json` is this. */
export interface Report {
  version: 1;
  name: string;
  result: "succeeded" | "failed" | "rolled-back" | "paused" | "running";
  reason: string;
  strategy: Strategy;
  cluster: Plan["cluster"];
  from: Plan["from"];
  startedAt?: string;
  endedAt?: string;
  expectedSeconds: number;
  steps: ReportStep[];
  nodes: ReportNode[];
  probes: ReportProbes;
  longConnections: { opened: number; broken: number; ended: number; list: LongConnection[] };
  /** Absent when nobody visited them. */
  applications?: ApplicationVisits;
  residue: ResidueItem[];
  /** Every object that the migration changed, and how. */
  changes: { object: string; change: string; step: string }[];
  warnings: Finding[];
  before: Record<string, number>;
  after: Record<string, number>;
}
