// SPDX-License-Identifier: Apache-2.0
import { limited } from "../preflight/check.ts";
import { formatFindings } from "../preflight/index.ts";
import type { Comparison } from "./compare-clusters.ts";

/** The comparison for people: numbers by kind, then what differs, the worst first. */
export function formatComparison(comparison: Comparison, width = 110): string {
  const { source, target, kinds, findings, ready } = comparison;
  const row = (name: string, cells: (string | number)[]): string =>
    `${name.padEnd(32)}${cells.map((cell) => String(cell).padStart(8)).join("")}`;
  const lines = [
    `Old cluster  ${source.server}`,
    `New cluster  ${target.server}`,
    "",
    row("", ["old", "new", "same"]),
    ...kinds.map(({ kind, source: here, target: there, same }) => row(kind, [here, there, same])),
    "",
  ];
  const byId = new Map<string, typeof findings>();
  for (const found of findings) {
    const id = `${found.severity} ${found.id}`;
    byId.set(id, [...(byId.get(id) ?? []), found]);
  }
  const shown = [...byId.values()].flatMap(limited);
  const verdict = ready
    ? "The new cluster is ready to take the traffic."
    : "The new cluster is not ready to take the traffic.";
  return `${lines.join("\n")}\n${formatFindings(shown, width)}${verdict}\n`;
}

/** One line for the journal. */
export function summarizeComparison({ kinds, findings, target }: Comparison): string {
  const same = kinds.reduce((sum, kind) => sum + kind.same, 0);
  const notes = findings.filter(({ severity }) => severity === "warn").length;
  return `${same} objects are the same at ${target.server}${notes === 0 ? "" : `, ${notes} warnings`}`;
}
