// SPDX-License-Identifier: Apache-2.0
import type { Finding } from "../model/inventory.ts";
import type { JournalEntry, MigrationStatus } from "../model/journal.ts";
import type { Plan, PlanStep } from "../model/plan.ts";
import type {
  ApplicationVisits,
  LongConnection,
  ProbeLoss,
  Report,
  ReportNode,
  ReportProbes,
  ReportStep,
  ResidueItem,
} from "../model/report.ts";
import { timeOf } from "./format.ts";
import { objectChanges } from "./object-changes.ts";
import { reasonOf, resultOf } from "./result.ts";

/** What the journal holds of a migration; the engine's MigrationRecord is one. */
export interface JournalRecord {
  name: string;
  plan: Plan;
  state: Pick<MigrationStatus, "phase" | "reason" | "startedAt" | "endedAt">;
  steps: readonly { step: PlanStep; entry: JournalEntry }[];
}

/** What others saw of it. What is missing was not looked at. */
export interface Evidence {
  probes?: ReportProbes;
  longConnections?: readonly LongConnection[];
  applications?: ApplicationVisits;
  residue?: readonly ResidueItem[];
  /** Findings beside those of the plan. */
  warnings?: readonly Finding[];
  /** Figures by name, such as iptablesRules. */
  before?: Record<string, number>;
  after?: Record<string, number>;
}

const noProbes: ReportProbes = { sent: 0, lost: 0, maxGapMs: 0, slow: 0, series: [], losses: [] };

/** The evidence of a migration, whole or halfway: a pure function of what the journal and the probes hold. */
export function makeReport(record: JournalRecord, evidence: Evidence = {}): Report {
  const { name, plan, state } = record;
  const steps = record.steps.map(({ step, entry }) => reportStep(step, entry));
  const probes = evidence.probes ?? noProbes;
  const list = [...(evidence.longConnections ?? [])];
  const brokenOf = (endMoved: boolean): number =>
    list.filter((connection) => connection.brokenAt !== undefined && connection.endMoved === endMoved).length;
  const report: Report = {
    version: 1,
    name,
    result: resultOf(state.phase),
    reason: "",
    strategy: plan.options.strategy,
    cluster: plan.cluster,
    from: plan.from,
    ...span(state.startedAt ?? earliest(steps), state.endedAt),
    expectedSeconds: plan.expectedSeconds,
    steps,
    nodes: reportNodes(record, steps),
    probes: { ...probes, losses: probes.losses.map((loss) => withStep(loss, steps)) },
    longConnections: { opened: list.length, broken: brokenOf(false), ended: brokenOf(true), list },
    ...(evidence.applications === undefined ? {} : { applications: evidence.applications }),
    residue: [...(evidence.residue ?? [])],
    changes: objectChanges(record.steps),
    warnings: [
      ...plan.warnings,
      ...(evidence.warnings ?? []),
      ...leftInAudit(record),
      ...policyDifferences(record),
      ...retried(steps),
    ],
    before: evidence.before ?? {},
    after: evidence.after ?? {},
  };
  return { ...report, reason: reasonOf(report, state.reason) };
}

const span = (startedAt: string | undefined, endedAt: string | undefined) => ({
  ...(startedAt === undefined ? {} : { startedAt }),
  ...(endedAt === undefined ? {} : { endedAt }),
});

function reportStep(step: PlanStep, entry: JournalEntry): ReportStep {
  return {
    name: step.name,
    kind: step.kind,
    ...(step.node === undefined ? {} : { node: step.node }),
    wave: step.wave,
    title: step.title,
    state: entry.state,
    ...span(entry.startedAt, entry.endedAt),
    attempts: entry.attempts,
    message: entry.message ?? "",
    changes: step.changes,
  };
}

const extreme = (dates: readonly (string | undefined)[], pick: "first" | "last"): string | undefined => {
  const sorted = dates.filter((date) => timeOf(date) !== undefined).sort((a, b) => timeOf(a)! - timeOf(b)!);
  return pick === "first" ? sorted[0] : sorted.at(-1);
};
const earliest = (steps: readonly ReportStep[]) =>
  extreme(
    steps.map(({ startedAt }) => startedAt),
    "first",
  );

/** What of a node's own steps makes it a switched one; the first of these that the plan has. */
const switchingKinds = ["activate", "join-node", "remove-node", "remove-kube-proxy-rules"] as const;

function reportNodes({ plan, steps: recorded }: JournalRecord, steps: ReportStep[]): ReportNode[] {
  const entries = new Map(recorded.map(({ step, entry }) => [step.name, entry]));
  const roles = new Map(plan.basis.nodes.map((node) => [node.name, node.roles]));
  const byName = new Map(steps.map((step) => [step.name, step]));
  const seen = new Set<string>();
  return plan.phases.flatMap((phase) =>
    (phase.nodes ?? []).flatMap((node): ReportNode[] => {
      if (seen.has(node.name)) return [];
      seen.add(node.name);
      const own = phase.steps.flatMap(({ kind }) => byName.get(`${kind}/${node.name}`) ?? []);
      const state = nodeState(own);
      const ended =
        state === "switched"
          ? extreme(
              own.map(({ endedAt }) => endedAt),
              "last",
            )
          : undefined;
      return [
        {
          name: node.name,
          roles: roles.get(node.name) ?? [],
          wave: node.wave,
          state,
          ...span(earliest(own), ended),
          podsMoved: podsMoved(node, entries),
        },
      ];
    }),
  );
}

const finished = ({ state }: ReportStep): boolean => state === "done" || state === "skipped";

function nodeState(own: readonly ReportStep[]): ReportNode["state"] {
  if (own.every(({ state }) => state === "pending" || state === "undone")) return "old";
  const turn = switchingKinds.flatMap((kind) => own.filter((step) => step.kind === kind))[0];
  return turn !== undefined && finished(turn) && own.every(finished) ? "switched" : "switching";
}

/** What the steps counted; where one did not, what the plan knew of. */
function podsMoved(
  node: { name: string; networkedPods: number; pinnedPods: number },
  entries: ReadonlyMap<string, JournalEntry>,
): number {
  const moved = (kind: "drain" | "recreate", planned: number): number => {
    const entry = entries.get(`${kind}/${node.name}`);
    const counted = entry?.notes?.podsMoved;
    return typeof counted === "number" ? counted : entry?.state === "done" ? planned : 0;
  };
  return (
    moved("drain", Math.max(0, node.networkedPods - node.pinnedPods)) + moved("recreate", node.pinnedPods)
  );
}

/** Lays a loss to the step that ran when the request was sent; the last one begun, when several did. */
function withStep(loss: ProbeLoss, steps: readonly ReportStep[]): ProbeLoss {
  if (loss.step !== "") return loss;
  const time = timeOf(loss.time) ?? Number.NaN;
  let running: ReportStep | undefined;
  for (const step of steps) {
    const start = timeOf(step.startedAt);
    if (start === undefined || start > time || time > (timeOf(step.endedAt) ?? Number.POSITIVE_INFINITY))
      continue;
    if (running === undefined || start >= timeOf(running.startedAt)!) running = step;
  }
  return { ...loss, step: running?.name ?? "" };
}

/** Policies that the migration did not enforce, as audit saw them deny what is used. */
const leftInAudit = ({ steps }: JournalRecord): Finding[] =>
  steps.flatMap(({ step, entry }): Finding[] => {
    const { leftInAudit: why, examples } = entry.notes ?? {};
    if (step.kind !== "enforce-policies" || typeof why !== "string" || entry.state !== "done") return [];
    const shown = Array.isArray(examples) ? examples.map(String) : [];
    return [
      {
        id: "policies-in-audit",
        severity: "warn",
        object: "cluster",
        problem: `policies are audited and not enforced: ${why}${shown.length === 0 ? "" : `, such as: ${shown.join("; ")}`}`,
        remedy:
          "See them all with: shunt policy audit-report. Mend the policies or the workloads, then: shunt install --set modes.policy=enforce",
      },
    ];
  });

/** What was accepted: a network that did something else than policies say. */
const policyDifferences = ({ steps }: JournalRecord): Finding[] =>
  steps.flatMap(({ step, entry }): Finding[] => {
    const { differences, examples, gaps } = entry.notes ?? {};
    if (typeof differences !== "number" || entry.state !== "done") return [];
    const object = `step ${step.name}`;
    const missing: Finding[] =
      !Array.isArray(gaps) || gaps.length === 0
        ? []
        : [
            {
              ...{ id: "policies-not-compared", severity: "warn", object },
              problem: `not all of what policies say was compared with the network: ${gaps.map(String).join("; ")}`,
              remedy: "See what the network does now: shunt policy compare",
            },
          ];
    if (differences === 0) return missing;
    const network = step.kind === "compare-policies" ? "the old network" : "the network";
    const shown = Array.isArray(examples) ? examples.map(String) : [];
    return [
      {
        id: "policy-differences",
        severity: "warn",
        object,
        problem: `${network} did something else than policies say with ${differences} connections, which was accepted: ${shown.join("; ")}`,
        remedy: "See what the network does now: shunt policy compare",
      },
      ...missing,
    ];
  });

const retried = (steps: readonly ReportStep[]): Finding[] =>
  steps
    .filter(({ attempts }) => attempts > 1)
    .map(({ name, attempts }) => ({
      id: "step-retried",
      severity: "info",
      object: `step ${name}`,
      problem: `was begun ${attempts} times`,
      remedy: "Nothing is to be done: a step may be begun again.",
    }));
