// SPDX-License-Identifier: Apache-2.0
import { UsageError } from "../../lib/errors.ts";

/** Whether anything is changed: `client` asks only the filters, `server` lets the API server try and forget. */
export type DryRun = "none" | "client" | "server";

/** The options of `kubectl drain` under their names, with their meaning and defaults. */
export interface DrainOptions {
  /** Also pods without a controller, and pods whose DaemonSet is gone. */
  force?: boolean;
  /** Leave pods of DaemonSets where they are instead of refusing. */
  ignoreDaemonsets?: boolean;
  /** Also pods whose emptyDir data will be lost. */
  deleteEmptydirData?: boolean;
  /** -1 (default): each pod's own; 0: at once. */
  gracePeriodSeconds?: number;
  /** One deadline for evicting and waiting. Default and 0: 1,800; there always is one. */
  timeoutSeconds?: number;
  /**
   * How long a pod waits until its controller has replaced the one before it, budget or not. Default 60; 0: all at
   * once, as kubectl does it.
   */
  replacementTimeoutSeconds?: number;
  /** Only pods with these labels. */
  podSelector?: string;
  /** Delete instead of evict, which goes past disruption budgets. */
  disableEviction?: boolean;
  /** Do not wait for pods that were deleted longer ago than this; 0 (default): wait for all. */
  skipWaitForDeleteTimeoutSeconds?: number;
  /** Pods read at a time. Default 500. */
  chunkSize?: number;
  dryRun?: DryRun;
  signal?: AbortSignal;
  onProgress?: (event: DrainEvent) => void;
  /** Milliseconds between two tries of a refused eviction that names no time to wait. Default 2,000. */
  retryMs?: number;
  /** Milliseconds between two looks at a pod that is ending. Default 1,000. */
  pollMs?: number;
}

/** What happens to one pod, as it happens. */
export interface DrainEvent {
  type: "skipped" | "warning" | "evicting" | "blocked" | "retrying" | "ending" | "gone" | "given-up";
  /** `namespace/name` */
  pod: string;
  message: string;
  /** How many pods are still to go. */
  left: number;
}

/** All options with their defaults. */
export type DrainSettings = Required<Omit<DrainOptions, "signal">> & { signal: AbortSignal | undefined };

const DEFAULT_TIMEOUT_SECONDS = 1_800;

/** Fills in the defaults. Throws UsageError for values that kubectl would refuse too. */
export function drainSettings(options: DrainOptions): DrainSettings {
  const whole = (name: string, value: number, least: number): number => {
    if (!Number.isInteger(value) || value < least)
      throw new UsageError(`${name} must be a whole number from ${least} up, not ${value}`);
    return value;
  };
  const dryRun = options.dryRun ?? "none";
  if (!["none", "client", "server"].includes(dryRun))
    throw new UsageError(`dryRun must be none, client or server, not "${dryRun}"`);
  const timeoutSeconds = options.timeoutSeconds ?? 0;
  if (!(timeoutSeconds >= 0)) throw new UsageError(`timeoutSeconds must not be below 0`);
  return {
    force: options.force ?? false,
    ignoreDaemonsets: options.ignoreDaemonsets ?? false,
    deleteEmptydirData: options.deleteEmptydirData ?? false,
    gracePeriodSeconds: whole("gracePeriodSeconds", options.gracePeriodSeconds ?? -1, -1),
    timeoutSeconds: timeoutSeconds === 0 ? DEFAULT_TIMEOUT_SECONDS : timeoutSeconds,
    replacementTimeoutSeconds: whole("replacementTimeoutSeconds", options.replacementTimeoutSeconds ?? 60, 0),
    podSelector: options.podSelector ?? "",
    disableEviction: options.disableEviction ?? false,
    skipWaitForDeleteTimeoutSeconds: whole(
      "skipWaitForDeleteTimeoutSeconds",
      options.skipWaitForDeleteTimeoutSeconds ?? 0,
      0,
    ),
    chunkSize: whole("chunkSize", options.chunkSize ?? 500, 1),
    dryRun,
    signal: options.signal,
    onProgress: options.onProgress ?? (() => undefined),
    retryMs: options.retryMs ?? 2_000,
    pollMs: options.pollMs ?? 1_000,
  };
}
