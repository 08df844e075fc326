// SPDX-License-Identifier: Apache-2.0
import type { LinuxResources } from "./cri-messages.ts";
import { type ContainerSpec, type Pod, qosClass } from "./pod.ts";
import { parseMilli, parseWhole } from "./quantity.ts";

const PERIOD_US = 100_000;

/** Shares that the kernel gives to this many thousandths of a CPU. */
export function cpuShares(milli: number): number {
  return Math.min(262_144, Math.max(2, Math.floor((milli * 1024) / 1000)));
}

/** Microseconds of each period that this many thousandths of a CPU may run; 0 means no limit. */
export function cpuQuotaUs(milli: number): number {
  return milli === 0 ? 0 : Math.max(1000, Math.floor((milli * PERIOD_US) / 1000));
}

/** The score by which the kernel chooses whom to kill when the node has no memory left. */
export function oomScore(pod: Pod, container: ContainerSpec, nodeMemoryBytes: number): number {
  if (pod.spec.priorityClassName === "system-node-critical") return -997;
  const qos = qosClass(pod);
  if (qos === "Guaranteed") return -997;
  if (qos === "BestEffort") return 1000;
  const request = container.resources?.requests?.memory ?? container.resources?.limits?.memory ?? 0;
  const score = 1000 - Math.floor((1000 * parseWhole(request)) / nodeMemoryBytes);
  return Math.min(999, Math.max(3, score));
}

/** A container's requests and limits as the runtime takes them. */
export function linuxResources(pod: Pod, container: ContainerSpec, nodeMemoryBytes: number): LinuxResources {
  const { requests = {}, limits = {} } = container.resources ?? {};
  return {
    cpu_period: PERIOD_US,
    cpu_quota: limits.cpu === undefined ? 0 : cpuQuotaUs(parseMilli(limits.cpu)),
    cpu_shares: cpuShares(parseMilli(requests.cpu ?? limits.cpu ?? 0)),
    memory_limit_in_bytes: limits.memory === undefined ? 0 : parseWhole(limits.memory),
    oom_score_adj: oomScore(pod, container, nodeMemoryBytes),
  };
}
