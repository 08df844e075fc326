// SPDX-License-Identifier: Apache-2.0
import type { KubeObject, OwnerReference } from "../../lib/kube-object.ts";
import type { DrainSettings } from "./options.ts";

/** What is to happen to one pod. The first filter that does not say `evict` decides. */
export interface PodVerdict {
  action: "evict" | "skip" | "refuse";
  /** Why it is skipped or refused; for `refuse` with the option that allows it. */
  reason?: string;
  /** What gets lost or stays behind. */
  warnings: string[];
}

/** What the filters know beyond the pod. */
export interface FilterContext {
  nowMs: number;
  /** Whether this DaemonSet is in the cluster. */
  hasDaemonSet(namespace: string, name: string): boolean;
}

type Answer = Omit<PodVerdict, "warnings"> & { warning?: string };
type Filter = (pod: KubeObject, settings: DrainSettings, context: FilterContext) => Answer;

const evict: Answer = { action: "evict" };
const skip = (reason: string, warning?: string): Answer => ({
  action: "skip",
  reason,
  ...(warning === undefined ? {} : { warning }),
});

/** The owner that controls a pod, if one does. */
export function controllerOf(pod: KubeObject): OwnerReference | undefined {
  return pod.metadata.ownerReferences?.find((owner) => owner.controller === true);
}

/** The controlling DaemonSet of `apps`, if the pod has one. */
export function daemonSetOf(pod: KubeObject): OwnerReference | undefined {
  const controller = controllerOf(pod);
  return controller?.kind === "DaemonSet" && controller.apiVersion.startsWith("apps/")
    ? controller
    : undefined;
}

/** Whether the pod ended and will not start again. */
export function hasFinished(pod: KubeObject): boolean {
  return pod.status?.phase === "Succeeded" || pod.status?.phase === "Failed";
}

/** Whether the pod was deleted longer ago than the option says it is waited for. */
export function isLongDeleted(pod: KubeObject, settings: DrainSettings, nowMs: number): boolean {
  const { deletionTimestamp } = pod.metadata;
  const limitSeconds = settings.skipWaitForDeleteTimeoutSeconds;
  return (
    limitSeconds > 0 &&
    deletionTimestamp !== undefined &&
    nowMs - Date.parse(deletionTimestamp) > limitSeconds * 1_000
  );
}

const longDeleted: Filter = (pod, settings, { nowMs }) =>
  isLongDeleted(pod, settings, nowMs)
    ? skip(`it was deleted more than ${settings.skipWaitForDeleteTimeoutSeconds} s ago`)
    : evict;

const ofDaemonSet: Filter = (pod, settings, { hasDaemonSet }) => {
  const owner = daemonSetOf(pod);
  if (owner === undefined || hasFinished(pod)) return evict;
  if (!hasDaemonSet(pod.metadata.namespace ?? "", owner.name)) {
    const missing = `its DaemonSet ${owner.name} does not exist`;
    return settings.force
      ? { action: "evict", warning: `${missing}: nothing makes it again` }
      : { action: "refuse", reason: `${missing} (force deletes it)` };
  }
  if (settings.ignoreDaemonsets)
    return skip("a DaemonSet keeps it on the node", `DaemonSet ${owner.name} keeps it on the node`);
  return {
    action: "refuse",
    reason: `DaemonSet ${owner.name} would start it again on this node (ignoreDaemonsets leaves it)`,
  };
};

const mirror: Filter = (pod) =>
  pod.metadata.annotations?.["kubernetes.io/config.mirror"] === undefined
    ? evict
    : skip("it is a static pod of the kubelet");

const localStorage: Filter = (pod, settings) => {
  const names = (pod.spec?.volumes ?? [])
    .filter((volume: any) => volume.emptyDir !== undefined && volume.emptyDir !== null)
    .map((volume: any) => volume.name);
  if (names.length === 0 || hasFinished(pod)) return evict;
  const what = `emptyDir ${names.join(", ")}`;
  return settings.deleteEmptydirData
    ? { action: "evict", warning: `its data in ${what} is lost` }
    : { action: "refuse", reason: `its data in ${what} would be lost (deleteEmptydirData accepts that)` };
};

const unmanaged: Filter = (pod, settings) => {
  if (controllerOf(pod) !== undefined || hasFinished(pod)) return evict;
  return settings.force
    ? { action: "evict", warning: "it has no controller: nothing makes it again" }
    : { action: "refuse", reason: "it has no controller that would make it again (force deletes it)" };
};

/** In the order of kubectl. */
const filters: Filter[] = [longDeleted, ofDaemonSet, mirror, localStorage, unmanaged];

/** Judges one pod. */
export function judgePod(pod: KubeObject, settings: DrainSettings, context: FilterContext): PodVerdict {
  const warnings: string[] = [];
  for (const filter of filters) {
    const { action, reason, warning } = filter(pod, settings, context);
    if (warning !== undefined) warnings.push(warning);
    if (action !== "evict") return { action, warnings, ...(reason === undefined ? {} : { reason }) };
  }
  return { action: "evict", warnings };
}
