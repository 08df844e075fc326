// SPDX-License-Identifier: Apache-2.0
import { errorMessage, ShuntError } from "../../lib/errors.ts";
import { type KubeClient, resourcePath } from "../../lib/kube.ts";
import { isConflict, isNotFound } from "../../lib/kube-errors.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import { sleep } from "../../lib/wait.ts";
import {
  type CordonRecord,
  cordonAnnotation,
  cordonedBy,
  cordonManager,
  excludeLabel,
  isOwnCordon,
  readCordonRecord,
} from "./cordon-record.ts";
import type { DryRun } from "./options.ts";
import { type Deadline, deadlineIn, leftMs, persist, requestTimeoutMs } from "./persist.ts";

export interface CordonOptions {
  /** Who cordons, for example `migration/to-shunt`. Only the same may undo it. */
  by: string;
  /** Take the node out of external load balancers too, and give them this long to notice. */
  excludeFromLoadBalancers?: { graceMs: number };
  dryRun?: DryRun;
  /** Default 60,000; the grace of the load balancers is extra. */
  timeoutMs?: number;
  signal?: AbortSignal;
}

export interface UncordonResult {
  /** Whether pods may be scheduled to the node because of this call. */
  uncordoned: boolean;
  /** Why it was left as it is. */
  reason?: string;
}

const nodePath = (node: string): string => resourcePath("v1", "nodes", undefined, node);

/**
 * Stops the scheduling of pods to a node, and records on it who did and how it was before. Safe to run again: the
 * first record stays. Throws when the node is not certain to be cordoned; nothing may be drained then.
 */
export async function cordon(kube: KubeClient, node: string, options: CordonOptions): Promise<CordonRecord> {
  const deadline = deadlineIn(options.timeoutMs ?? 60_000, options.signal);
  try {
    const record = await change(kube, node, deadline, options.dryRun, (object) =>
      cordonPatch(object, options),
    );
    const found = readCordonRecord(record);
    if (options.dryRun !== "client") {
      if (record.spec?.unschedulable !== true)
        throw new ShuntError("the API server took the change, and the node is not cordoned", {
          remedy: "Look for an admission webhook or a controller that puts nodes back.",
        });
      if (found === undefined) throw new ShuntError("the API server took the change without the record");
    }
    await waitForLoadBalancers(found, options);
    return found ?? freshRecord(record, options);
  } catch (cause) {
    options.signal?.throwIfAborted();
    throw new ShuntError(`Cannot cordon node "${node}": ${errorMessage(cause)}`, {
      code: "CordonFailed",
      remedy:
        (cause instanceof ShuntError ? cause.remedy : undefined) ??
        "No pod was evicted. Mend the cause and run it again.",
      cause,
    });
  }
}

/** Lets pods be scheduled again, if it was this party who stopped it. A node that is gone is no failure. */
export async function uncordon(
  kube: KubeClient,
  node: string,
  options: Omit<CordonOptions, "excludeFromLoadBalancers">,
): Promise<UncordonResult> {
  const deadline = deadlineIn(options.timeoutMs ?? 60_000, options.signal);
  let result: UncordonResult = { uncordoned: false };
  try {
    await change(kube, node, deadline, options.dryRun, (object) => {
      const judged = uncordonPatch(object, options.by);
      result = judged.result;
      return judged.patch;
    });
  } catch (cause) {
    options.signal?.throwIfAborted();
    if (isNotFound(cause)) return { uncordoned: false, reason: "the node is gone" };
    throw new ShuntError(`Cannot uncordon node "${node}": ${errorMessage(cause)}`, {
      code: "UncordonFailed",
      remedy: `Mend the cause and run it again, or by hand: kubectl uncordon ${node}`,
      cause,
    });
  }
  return result;
}

type NodePatch = {
  spec?: { unschedulable: boolean | null };
  annotations?: Record<string, string | null>;
  labels?: Record<string, string | null>;
};

/** Reads the node, makes the patch for exactly that version, and starts anew when somebody was faster. */
async function change(
  kube: KubeClient,
  node: string,
  deadline: Deadline,
  dryRun: DryRun | undefined,
  makePatch: (object: KubeObject) => NodePatch | undefined,
): Promise<KubeObject> {
  for (;;) {
    const timeoutMs = requestTimeoutMs(deadline);
    const object = await persist(deadline, () => kube.get(nodePath(node), { timeoutMs }));
    const patch = makePatch(object);
    if (patch === undefined || dryRun === "client") return object;
    const { spec, ...metadata } = patch;
    const body = {
      metadata: { resourceVersion: object.metadata.resourceVersion, ...metadata },
      ...(spec === undefined ? {} : { spec }),
    };
    const query = { fieldManager: cordonManager, ...(dryRun === "server" ? { dryRun: "All" } : {}) };
    const contentType = "application/merge-patch+json";
    try {
      return await persist(deadline, () =>
        kube.request<KubeObject>("PATCH", nodePath(node), { body, query, contentType, timeoutMs }),
      );
    } catch (error) {
      if (!isConflict(error) || leftMs(deadline) === 0) throw error;
      await sleep(50 + Math.random() * 100, deadline.signal);
    }
  }
}

function freshRecord(object: KubeObject, options: CordonOptions): CordonRecord {
  const wasCordoned = object.spec?.unschedulable === true;
  const before = wasCordoned ? cordonedBy(object) : undefined;
  const wantsLabel = options.excludeFromLoadBalancers !== undefined;
  return {
    by: options.by,
    at: new Date().toISOString(),
    wasCordoned,
    ...(before === undefined ? {} : { before }),
    labelled: wantsLabel && object.metadata.labels?.[excludeLabel] === undefined,
  };
}

/** What makes the node cordoned and recorded; undefined when it is. */
function cordonPatch(object: KubeObject, options: CordonOptions): NodePatch | undefined {
  const isCordoned = object.spec?.unschedulable === true;
  const record = readCordonRecord(object);
  if (isCordoned && record !== undefined) {
    // Somebody else's record is theirs to undo; ours stays unless the node was taken over since.
    if (record.by !== options.by || record.wasCordoned || isOwnCordon(object, options.by)) return undefined;
  }
  const fresh = freshRecord(object, options);
  if (record?.by === options.by && record.labelled) fresh.labelled = true;
  return {
    spec: { unschedulable: true },
    annotations: { [cordonAnnotation]: JSON.stringify(fresh) },
    ...(fresh.labelled ? { labels: { [excludeLabel]: "" } } : {}),
  };
}

function uncordonPatch(object: KubeObject, by: string): { result: UncordonResult; patch?: NodePatch } {
  const record = readCordonRecord(object);
  const left = (reason: string): UncordonResult => ({ uncordoned: false, reason });
  if (record === undefined) return { result: left("Shunt did not cordon it") };
  if (record.by !== by) return { result: left(`${record.by} cordoned it`) };
  const patch: NodePatch = {
    annotations: { [cordonAnnotation]: null },
    ...(record.labelled ? { labels: { [excludeLabel]: null } } : {}),
  };
  if (object.spec?.unschedulable !== true) return { result: left("it is not cordoned any more"), patch };
  if (record.wasCordoned) {
    const who = record.before === undefined ? "" : ` by ${record.before.by}`;
    return { result: left(`it was cordoned before${who}`), patch };
  }
  if (!isOwnCordon(object, by)) return { result: left(`${cordonedBy(object)?.by} cordoned it since`), patch };
  return { result: { uncordoned: true }, patch: { ...patch, spec: { unschedulable: null } } };
}

async function waitForLoadBalancers(
  record: CordonRecord | undefined,
  { excludeFromLoadBalancers, dryRun = "none", signal }: CordonOptions,
): Promise<void> {
  if (excludeFromLoadBalancers === undefined || record?.labelled !== true || dryRun !== "none") return;
  const endMs = Date.parse(record.at) + excludeFromLoadBalancers.graceMs;
  // A clock that was set back must not make this wait longer than asked.
  const waitMs = Math.min(endMs - Date.now(), excludeFromLoadBalancers.graceMs);
  if (waitMs > 0) await sleep(waitMs, signal);
}
