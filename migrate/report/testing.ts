// SPDX-License-Identifier: Apache-2.0
// Reports for tests: a migration of any size, as if it had run just as planned.
import type { JournalEntry } from "../model/journal.ts";
import type { Plan } from "../model/plan.ts";
import type { LongConnection, ProbeBucket, ProbeLoss, ReportProbes } from "../model/report.ts";
import { makePlan, planSteps, stepAt, wavesOf } from "../plan/index.ts";
import { sampleInventory } from "../plan/testing.ts";
import type { Evidence, JournalRecord } from "./make-report.ts";

const startMs = Date.parse("2026-01-01T08:00:00.000Z");
const iso = (seconds: number): string => new Date(startMs + seconds * 1000).toISOString();

/** Entries of a journal in which every step took what was expected, give or take. */
function entriesOf(plan: Plan): { entries: Record<string, JournalEntry>; seconds: number } {
  const entries: Record<string, JournalEntry> = {};
  let clock = 0;
  let number = 0;
  const run = (steps: ReturnType<typeof stepAt>[], from: number): number => {
    let at = from;
    for (const step of steps) {
      const took = step.expectedSeconds * (0.7 + ((number++ * 37) % 60) / 100);
      const times = { startedAt: iso(at), endedAt: iso(at + took) };
      entries[step.name] = { state: "done", attempts: 1, message: outcomes[step.kind] ?? "", ...times };
      at += took;
    }
    return at;
  };
  for (const phase of plan.phases)
    if (phase.nodes === undefined)
      clock = run(
        phase.steps.map((template) => stepAt(phase, template)),
        clock,
      );
    else
      for (const wave of wavesOf(phase)) {
        const from = clock;
        const ends = wave.map((node) =>
          run(
            phase.steps.map((template) => stepAt(phase, template, node)),
            from,
          ),
        );
        clock = Math.max(...ends);
      }
  return { entries, seconds: clock };
}

const outcomes: Record<string, string> = {
  drain: "9 pods moved to other nodes",
  activate: "podNetwork active, services on",
  recreate: "DaemonSet default/log-shipper back on the new network",
  "verify-node": "24 paths between old and switched nodes work",
  "services-handover": "312 connections ended by themselves, none was cut",
  "verify-residue": "nothing left",
};

function probesOf(seconds: number): ReportProbes {
  const timeline: ProbeBucket[] = [];
  for (let second = 0; second < seconds; second += 2) {
    const slow = second % 94 === 0 ? 3 : 0;
    const maxGapMs = 24 + ((second * 7) % 31) + slow * 40;
    timeline.push({ startedAt: iso(second), seconds: 2, sent: 396 + (second % 9), lost: 0, slow, maxGapMs });
  }
  const total = (key: "sent" | "slow"): number => timeline.reduce((sum, bucket) => sum + bucket[key], 0);
  const series = ["http pod", "http cluster-ip", "http node-port", "udp pod", "dns headless"].map(
    (probe, index) => ({
      ...{ probe, from: `worker-${1 + (index % 2)}`, to: `worker-${2 + (index % 2)}` },
      ...{ sent: Math.floor(total("sent") / 5), lost: 0, maxGapMs: 80 + index * 21, p50Ms: 0.8, p99Ms: 4.2 },
    }),
  );
  return { sent: total("sent"), lost: 0, slow: total("slow"), maxGapMs: 174, series, losses: [], timeline };
}

const connections = (count: number, seconds: number): LongConnection[] =>
  Array.from({ length: count }, (_, index) => ({
    id: `stream-${index + 1}`,
    from: `worker-${1 + (index % 3)}`,
    to: `worker-${1 + ((index + 1) % 3)}`,
    via: (["pod", "cluster-ip", "node-port", "headless"] as const)[index % 4]!,
    openedAt: iso(4 + index / 10),
    ...(index % 7 === 3 ? { brokenAt: iso(seconds / 3 + index), endMoved: true } : { endMoved: false }),
  }));

type Sample = [JournalRecord, Required<Pick<Evidence, "probes">> & Evidence];

/** What a completed migration of this many workers leaves for its report. */
export function sampleRun(workers = 3): Sample {
  const created = new Date(startMs);
  const maxUnavailable = Math.max(1, Math.floor(workers / 50));
  const plan = makePlan(sampleInventory(workers), { maxUnavailable }, [], created);
  const { entries, seconds } = entriesOf(plan);
  const steps = planSteps(plan).map((step) => ({ step, entry: entries[step.name]! }));
  const state = { phase: "Completed" as const, reason: "", startedAt: iso(0), endedAt: iso(seconds) };
  const evidence = {
    probes: probesOf(seconds),
    longConnections: connections(20, seconds),
    before: { iptablesRules: 184, medianRequestMs: 0.92, nodesCordoned: 0, conntrackEntries: 2210 },
    after: { iptablesRules: 12, medianRequestMs: 0.71, nodesCordoned: 0, conntrackEntries: 96 },
  };
  return [{ name: "sample", plan, state, steps }, evidence];
}

/** The same, paused in its middle after requests were lost. */
export function troubledRun(workers = 3): Sample {
  const [record, evidence] = sampleRun(workers);
  const stop = record.steps.findIndex(({ step }) => step.name === "verify-node/worker-2");
  const pending: JournalEntry = { state: "pending", attempts: 0 };
  const steps = record.steps.map(({ step, entry }, index) => ({
    step,
    entry: index <= stop ? entry : pending,
  }));
  const failed = steps[stop]!.entry;
  Object.assign(failed, {
    state: "failed",
    attempts: 3,
    message: "worker-2 does not answer worker-1 on 8080",
  });
  const endMs = Date.parse(failed.endedAt!);
  const losses = [0, 300, 900, 1400, 2100].map(
    (before, index): ProbeLoss => ({
      time: new Date(endMs - 4000 - before).toISOString(),
      ...{ probe: "http", path: "cluster-ip", from: "worker-1", to: "worker-2" },
      ...{ sequence: 9000 + index, step: "" },
    }),
  );
  const { probes } = evidence;
  const timeline = probes.timeline!.filter(({ startedAt }) => Date.parse(startedAt) < endMs);
  const state = { phase: "Paused" as const, reason: "5 requests got lost", startedAt: iso(0) };
  const seen = { ...probes, lost: losses.length, losses, timeline, maxGapMs: 2140 };
  return [
    { ...record, state, steps },
    { ...evidence, probes: seen, after: {} },
  ];
}
