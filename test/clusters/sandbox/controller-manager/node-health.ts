// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../../../../lib/kube-object.ts";
import type { Taint } from "../scheduler/taints.ts";
import { type Condition, findCondition } from "./pod-state.ts";
import { apiTime } from "./status-write.ts";

const prefix = "node.kubernetes.io/";
const pressures: [condition: string, taint: string][] = [
  ["MemoryPressure", "memory-pressure"],
  ["DiskPressure", "disk-pressure"],
  ["PIDPressure", "pid-pressure"],
  ["NetworkUnavailable", "network-unavailable"],
];

/** The keys that the node lifecycle controller sets and removes. */
const managed = new Set(
  ["not-ready", "unreachable", "unschedulable", ...pressures.map(([, taint]) => taint)].map(
    (name) => prefix + name,
  ),
);

/** The taints that a node should have: its own, and those that its conditions call for. */
export function nodeTaints(node: KubeObject): Taint[] {
  const present: Taint[] = node.spec?.taints ?? [];
  const wanted: Taint[] = [];
  const ready = findCondition(node, "Ready")?.status;
  const liveness = [`${prefix}not-ready`, `${prefix}unreachable`];
  // A node that never said anything keeps the taints that it came with.
  if (ready === undefined) wanted.push(...present.filter(({ key }) => liveness.includes(key)));
  else if (ready !== "True") {
    const key = prefix + (ready === "False" ? "not-ready" : "unreachable");
    wanted.push({ key, effect: "NoSchedule" }, { key, effect: "NoExecute" });
  }
  for (const [condition, taint] of pressures)
    if (findCondition(node, condition)?.status === "True")
      wanted.push({ key: prefix + taint, effect: "NoSchedule" });
  if (node.spec?.unschedulable === true) wanted.push({ key: `${prefix}unschedulable`, effect: "NoSchedule" });
  const same = (a: Taint, b: Taint) => a.key === b.key && a.effect === b.effect;
  const kept = present.filter(
    (taint) => !managed.has(taint.key) || wanted.some((entry) => same(entry, taint)),
  );
  const added = wanted.filter((taint) => !present.some((entry) => same(entry, taint)));
  return [...kept, ...added.map((taint) => ({ ...taint, timeAdded: apiTime() }))];
}

/** The conditions of a node from which nothing has been heard for the grace period. */
export function silentConditions(node: KubeObject): Condition[] {
  const types = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];
  const present: Condition[] = node.status?.conditions ?? [];
  const next = present.map((condition) =>
    types.includes(condition.type) && condition.status !== "Unknown"
      ? {
          ...condition,
          status: "Unknown",
          reason: "NodeStatusUnknown",
          message: "Kubelet stopped posting node status.",
          lastTransitionTime: apiTime(),
        }
      : condition,
  );
  for (const type of types)
    if (!present.some((condition) => condition.type === type))
      next.push({
        type,
        status: "Unknown",
        reason: "NodeStatusNeverUpdated",
        message: "Kubelet never posted node status.",
        lastTransitionTime: apiTime(),
      });
  return next;
}

/**
 * Milliseconds after which NoExecute taints evict a pod, counted from when each was added: undefined never,
 * 0 or less now.
 */
export function evictionDelayMs(pod: KubeObject, taints: Taint[], nowMs: number): number | undefined {
  let soonest: number | undefined;
  for (const taint of taints) {
    if (taint.effect !== "NoExecute") continue;
    const tolerating = (pod.spec.tolerations ?? []).filter(
      (entry: any) =>
        (!entry.effect || entry.effect === taint.effect) &&
        (!entry.key || entry.key === taint.key) &&
        (entry.operator === "Exists" || (entry.key && (entry.value ?? "") === (taint.value ?? ""))),
    );
    if (tolerating.length === 0) return 0;
    const limits = tolerating
      .map((entry: any) => entry.tolerationSeconds)
      .filter((seconds: unknown): seconds is number => typeof seconds === "number");
    if (limits.length === 0) continue;
    const sinceMs = taint.timeAdded === undefined ? nowMs : Date.parse(taint.timeAdded);
    const leftMs = sinceMs + Math.max(0, Math.min(...limits)) * 1_000 - nowMs;
    soonest = Math.min(soonest ?? leftMs, leftMs);
  }
  return soonest;
}
