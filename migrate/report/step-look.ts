// SPDX-License-Identifier: Apache-2.0
import type { StepState } from "../model/journal.ts";
import type { StepKindName } from "../model/plan.ts";
import type { Report, ReportStep } from "../model/report.ts";

/** Families of steps: one colour each. */
export const families = [
  ["empty", "Cordon, drain, uncordon"],
  ["switch", "Switch the node"],
  ["pods", "Recreate pods"],
  ["verify", "Verify"],
  ["remove", "Remove the old"],
  ["cluster", "For the whole cluster"],
] as const;

export type Family = (typeof families)[number][0];

const familyOfKind: Record<StepKindName, Family> = {
  "install-standby": "cluster",
  "start-probes": "cluster",
  "compare-policies": "verify",
  "add-group": "cluster",
  "join-node": "switch",
  cordon: "empty",
  drain: "empty",
  uncordon: "empty",
  activate: "switch",
  recreate: "pods",
  "verify-node": "verify",
  "verify-residue": "verify",
  "compare-clusters": "cluster",
  "cut-over": "cluster",
  "services-handover": "cluster",
  "remove-node": "remove",
  "settle-group": "cluster",
  "remove-kube-proxy-rules": "remove",
  "disable-old-network": "cluster",
  "remove-old-network": "remove",
  "enforce-policies": "cluster",
  "verify-policies": "verify",
  "stop-probes": "cluster",
  finish: "cluster",
  "release-connections": "remove",
};

/** The family of a step; a kind of another version counts as one for the cluster. */
export const familyOf = (step: Pick<ReportStep, "kind">): Family =>
  Object.hasOwn(familyOfKind, step.kind) ? familyOfKind[step.kind] : "cluster";

const tones: Record<StepState, string> = {
  pending: "state-soft",
  running: "",
  done: "state-good",
  skipped: "state-soft",
  failed: "state-bad",
  undoing: "state-bad",
  undone: "state-soft",
};

/** Class by which a state is coloured; a state of another version has none. */
export const toneOf = (state: StepState): string => (Object.hasOwn(tones, state) ? tones[state] : "");

const resultWords: Record<Report["result"], string> = {
  succeeded: "Succeeded",
  failed: "Failed",
  "rolled-back": "Rolled back",
  paused: "Paused",
  running: "Running",
};

/** The result in large letters; one that came with losses says so. */
export function resultTitle(report: Report): string {
  const lossy = report.result === "succeeded" && resultTone(report) === "bad";
  return lossy ? "Completed with losses" : (resultWords[report.result] ?? "Unknown");
}

/** How the result looks: a success with losses is none to be calm about. */
export function resultTone({
  result,
  probes,
  longConnections,
  applications,
  residue,
}: Report): "good" | "warn" | "bad" | "plain" {
  if (result === "failed") return "bad";
  const spoiled = probes.lost + longConnections.broken + (applications?.lost ?? 0) > 0;
  if (spoiled) return "bad";
  if (result === "running") return "plain";
  return result === "succeeded" && residue.length === 0 && probes.sent > 0 ? "good" : "warn";
}
