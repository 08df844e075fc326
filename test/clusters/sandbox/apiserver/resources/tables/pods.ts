// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../resource.ts";
import { humanDuration } from "./age.ts";
import { ageOf, type Cell, type Table, table } from "./table.ts";

interface Tally {
  reason: string;
  ready: number;
  restarts: number;
  /** When a container last ended, in milliseconds since the epoch; 0 when none did. */
  lastEnd: number;
}

/** How pods are printed. */
export const POD_TABLE: Table = table(
  "Ready | Status | Restarts | Age | +IP | +Node | +Nominated Node | +Readiness Gates",
  podCells,
);

function podCells(pod: KubeObject, now: Date): Cell[] {
  const { spec = {}, status = {} } = pod;
  const tally: Tally = { reason: status.reason || status.phase || "", ready: 0, restarts: 0, lastEnd: 0 };
  const gated = conditionOf(pod, "PodScheduled")?.reason === "SchedulingGated";
  if (gated) tally.reason = "SchedulingGated";
  const sidecars = new Set<string>(
    (spec.initContainers ?? [])
      .filter((item: KubeObject) => item.restartPolicy === "Always")
      .map((item: KubeObject) => item.name),
  );
  const sidecarRestarts = { count: 0, lastEnd: 0 };
  const initializing = tallyInit(pod, sidecars, tally, sidecarRestarts);
  if (!initializing || conditionOf(pod, "Initialized")?.status === "True") {
    tally.restarts = sidecarRestarts.count;
    tally.lastEnd = sidecarRestarts.lastEnd;
    tallyMain(pod, tally);
  }
  markTerminating(pod, tally);
  const total = (spec.containers?.length ?? 0) + sidecars.size;
  return [
    `${tally.ready}/${total}`,
    tally.reason,
    restartsText(tally, now),
    ageOf(pod, now),
    status.podIPs?.[0]?.ip || status.podIP || "<none>",
    spec.nodeName || "<none>",
    status.nominatedNodeName || "<none>",
    readinessGates(pod),
  ];
}

function conditionOf(pod: KubeObject, type: string): KubeObject | undefined {
  return pod.status?.conditions?.find((condition: KubeObject) => condition.type === type);
}

function endOf(container: KubeObject): number {
  const finished = container.lastState?.terminated?.finishedAt;
  return finished ? Date.parse(finished) : 0;
}

function tallyInit(
  pod: KubeObject,
  sidecars: Set<string>,
  tally: Tally,
  sidecarRestarts: { count: number; lastEnd: number },
): boolean {
  const statuses: KubeObject[] = pod.status?.initContainerStatuses ?? [];
  for (const [index, container] of statuses.entries()) {
    const { terminated, waiting } = container.state ?? {};
    tally.restarts += container.restartCount ?? 0;
    tally.lastEnd = Math.max(tally.lastEnd, endOf(container));
    if (sidecars.has(container.name)) {
      sidecarRestarts.count += container.restartCount ?? 0;
      sidecarRestarts.lastEnd = Math.max(sidecarRestarts.lastEnd, endOf(container));
    }
    if (terminated && !terminated.exitCode) continue;
    if (sidecars.has(container.name) && container.started) {
      if (container.ready) tally.ready++;
      continue;
    }
    if (terminated) tally.reason = `Init:${terminatedReason(terminated)}`;
    else if (waiting?.reason && waiting.reason !== "PodInitializing") tally.reason = `Init:${waiting.reason}`;
    else tally.reason = `Init:${index}/${pod.spec?.initContainers?.length ?? 0}`;
    return true;
  }
  return false;
}

function terminatedReason(terminated: KubeObject): string {
  if (terminated.reason) return terminated.reason;
  return terminated.signal ? `Signal:${terminated.signal}` : `ExitCode:${terminated.exitCode ?? 0}`;
}

function tallyMain(pod: KubeObject, tally: Tally): void {
  let running = false;
  const statuses: KubeObject[] = pod.status?.containerStatuses ?? [];
  for (const container of [...statuses].reverse()) {
    const state = container.state ?? {};
    tally.restarts += container.restartCount ?? 0;
    tally.lastEnd = Math.max(tally.lastEnd, endOf(container));
    if (state.waiting?.reason) tally.reason = state.waiting.reason;
    else if (state.terminated) tally.reason = terminatedReason(state.terminated);
    else if (container.ready && state.running) {
      running = true;
      tally.ready++;
    }
  }
  if (tally.reason === "Completed" && running) {
    tally.reason = conditionOf(pod, "Ready")?.status === "True" ? "Running" : "NotReady";
  }
}

function markTerminating(pod: KubeObject, tally: Tally): void {
  if (!pod.metadata?.deletionTimestamp) return;
  if (pod.status?.reason === "NodeLost") tally.reason = "Unknown";
  else if (!["Succeeded", "Failed"].includes(pod.status?.phase)) tally.reason = "Terminating";
}

function restartsText(tally: Tally, now: Date): string {
  if (tally.restarts === 0 || tally.lastEnd === 0) return String(tally.restarts);
  return `${tally.restarts} (${humanDuration(now.getTime() - tally.lastEnd)} ago)`;
}

function readinessGates(pod: KubeObject): string {
  const gates: KubeObject[] = pod.spec?.readinessGates ?? [];
  if (gates.length === 0) return "<none>";
  const met = gates.filter((gate) => conditionOf(pod, gate.conditionType)?.status === "True");
  return `${met.length}/${gates.length}`;
}
