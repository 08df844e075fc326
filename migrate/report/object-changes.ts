// SPDX-License-Identifier: Apache-2.0
import type { JournalEntry, Json } from "../model/journal.ts";
import type { PlanStep } from "../model/plan.ts";
import type { Report } from "../model/report.ts";

type Change = Report["changes"][number];

const isRecord = (value: Json | undefined): value is { [key: string]: Json | undefined } =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** `DaemonSet kube-system/kube-proxy: a nodeSelector …` names its object; other sentences are about the place. */
const namedObject = /^([A-Z][A-Za-z]+ [^\s:]+): (.+)$/s;

/**
 * Every object that steps changed, and how. A step that writes `changed: [{object, change}]` into its notes is taken
 * at its word; of any other that was begun, the plan's sentences count.
 */
export function objectChanges(steps: readonly { step: PlanStep; entry: JournalEntry }[]): Change[] {
  return steps.flatMap(({ step, entry }): Change[] => {
    if (entry.state === "pending" || entry.state === "skipped") return [];
    const back = entry.state === "undone" ? " (taken back)" : "";
    const written = entry.notes?.changed;
    if (Array.isArray(written))
      return written.filter(isRecord).map(({ object, change }) => ({
        object: String(object ?? ""),
        change: String(change ?? "") + back,
        step: step.name,
      }));
    return step.changes.map((sentence) => {
      const [, object, change] = namedObject.exec(sentence) ?? [];
      const place = step.node === undefined ? "cluster" : `Node ${step.node}`;
      return { object: object ?? place, change: (change ?? sentence) + back, step: step.name };
    });
  });
}
