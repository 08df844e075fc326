// SPDX-License-Identifier: Apache-2.0
// Pods of one controller go one after another, also without a budget: cluster DNS seldom has one.
import { resourcePath } from "../../lib/kube.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import { sleep } from "../../lib/wait.ts";
import { deadlineIn, leftMs, persist, requestTimeoutMs } from "./persist.ts";
import type { Drain } from "./remove-pod.ts";

const replicated: Record<string, string> = {
  ReplicaSet: "replicasets",
  StatefulSet: "statefulsets",
  ReplicationController: "replicationcontrollers",
};

const controllerOf = (pod: KubeObject) =>
  pod.metadata.ownerReferences?.find((owner) => owner.controller === true);

/** Pods in groups of one controller each, in their order; a pod that nothing replicates is a group of its own. */
export function groupsOf(pods: readonly KubeObject[]): KubeObject[][] {
  const groups = new Map<string | undefined, KubeObject[]>();
  for (const pod of pods) {
    const controller = controllerOf(pod);
    const key = controller !== undefined && controller.kind in replicated ? controller.uid : pod.metadata.uid;
    groups.set(key, [...(groups.get(key) ?? []), pod]);
  }
  return [...groups.values()];
}

/**
 * Waits until the controller of a pod that went has as many ready pods as it wants, `replacementTimeoutSeconds` at
 * most: a replacement that never gets ready delays a drain and does not end it.
 */
export async function waitForReplacement(drain: Drain, pod: KubeObject): Promise<void> {
  const { kube, settings, report } = drain;
  const controller = controllerOf(pod);
  const plural = replicated[controller?.kind ?? ""];
  const waitMs = Math.min(settings.replacementTimeoutSeconds * 1_000, leftMs(drain.deadline));
  if (controller === undefined || plural === undefined || waitMs === 0 || settings.dryRun !== "none") return;
  const deadline = deadlineIn(waitMs, settings.signal);
  const path = resourcePath(controller.apiVersion, plural, pod.metadata.namespace, controller.name);
  while (!drain.hopeless.signal.aborted) {
    const found = await persist(deadline, () =>
      kube.find(path, { timeoutMs: requestTimeoutMs(deadline) }),
    ).catch(() => undefined);
    settings.signal?.throwIfAborted();
    const wanted = found?.spec?.replicas ?? 1;
    const ready = found?.status?.readyReplicas ?? 0;
    if (found === undefined || ready >= wanted) return;
    const progress = `${controller.kind} ${controller.name} has ${ready} of ${wanted} pods ready`;
    if (leftMs(deadline) === 0) return report("warning", pod, `${progress}; the next one goes all the same`);
    report("ending", pod, `${progress}; the next one waits`);
    await sleep(Math.min(settings.pollMs, leftMs(deadline)), settings.signal);
  }
}
