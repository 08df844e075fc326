// SPDX-License-Identifier: Apache-2.0
import type { MigrationPhase } from "../model/journal.ts";
import type { Report } from "../model/report.ts";
import { formatCount } from "./format.ts";

const results: Record<MigrationPhase, Report["result"]> = {
  Pending: "running",
  Running: "running",
  RollingBack: "running",
  Paused: "paused",
  Failed: "failed",
  RolledBack: "rolled-back",
  Completed: "succeeded",
};

/** The phase in the report's words. */
export const resultOf = (phase: MigrationPhase): Report["result"] => results[phase];

const several = (count: number, one: string, more: string): string =>
  `${formatCount(count)} ${count === 1 ? one : more}`;

/** What the probes say, as the second half of a sentence; starts with "but" when something was lost. */
function evidence({ probes, longConnections, applications, residue }: Report): string {
  const bad: string[] = [];
  if (probes.lost > 0)
    bad.push(`${several(probes.lost, "request", "requests")} of ${formatCount(probes.sent)} got lost`);
  if (applications !== undefined && applications.lost > 0)
    bad.push(`${several(applications.lost, "visit", "visits")} to applications got lost`);
  if (longConnections.broken > 0)
    bad.push(`${several(longConnections.broken, "long connection", "long connections")} broke`);
  if (residue.length > 0)
    bad.push(`${several(residue.length, "thing", "things")} of the old network remained`);
  if (bad.length > 0) return `, but ${bad.join(", and ")}`;
  if (probes.sent === 0) return "; no probe ran, so nothing is proven about lost requests";
  const requests = `none of ${formatCount(probes.sent)} requests was lost`;
  if (longConnections.opened === 0) return `, and ${requests}`;
  return `, ${requests}, and none of ${formatCount(longConnections.opened)} long connections broke`;
}

function achieved({ strategy, nodes, from }: Report): string {
  if (strategy === "new-cluster") return "The objects of both clusters were compared";
  const all = nodes.length === 1 ? "The node" : `All ${formatCount(nodes.length)} nodes`;
  if (strategy === "kube-proxy-only") return `kube-proxy was replaced on ${all.toLowerCase()}`;
  return `${all} moved from ${from.network} to Shunt`;
}

/** Why the result is what it is, in one sentence. */
export function reasonOf(report: Report, why: string): string {
  const switched = report.nodes.filter(({ state }) => state === "switched").length;
  const all = several(report.nodes.length, "node", "nodes");
  const progress = `${formatCount(switched)} of ${all} ${switched === 1 ? "is" : "are"} switched`;
  const because = why.trim().replace(/\.$/, "") || "no reason was recorded";
  const text: Record<Report["result"], () => string> = {
    succeeded: () => achieved(report) + evidence(report),
    "rolled-back": () =>
      `Everything was taken back, and all nodes are on ${report.from.network} again${evidence(report)}`,
    failed: () => `${because}; ${progress}`,
    paused: () => `${because}; ${progress}`,
    running: () => `Not at its end yet: ${progress}${evidence(report)}`,
  };
  return `${text[report.result]()}.`;
}
