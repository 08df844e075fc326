// SPDX-License-Identifier: Apache-2.0

import { type Informer, objectKey } from "../../../../lib/kube-informer.ts";
import type { KubeObject } from "../../../../lib/kube-object.ts";
import { matchesSelector } from "../../../../lib/label-selector.ts";
import type { Expectations } from "./expectations.ts";
import { controllerOf } from "./ownership.ts";
import type { WorkQueue } from "./work-queue.ts";

/** Queues the owner of every pod that changes, and fulfils what was expected of the cache. */
export function followOwnedPods(
  pods: Informer,
  owners: Informer,
  ownerKind: string,
  queue: WorkQueue,
  expectations: Expectations,
): void {
  const ownerKey = (pod: KubeObject): string | undefined => {
    const controller = controllerOf(pod);
    return controller?.kind === ownerKind ? `${pod.metadata.namespace}/${controller.name}` : undefined;
  };
  const queueMatching = (pod: KubeObject) => {
    for (const owner of owners.items.values())
      if (
        owner.metadata.namespace === pod.metadata.namespace &&
        matchesSelector(owner.spec.selector, pod.metadata.labels)
      )
        queue.add(objectKey(owner));
  };
  pods.onChange(({ type, object, previous }) => {
    const key = ownerKey(object);
    const formerKey = previous === undefined ? undefined : ownerKey(previous);
    if (formerKey !== undefined && formerKey !== key) queue.add(formerKey);
    if (key === undefined) {
      if (controllerOf(object) === undefined && type !== "deleted") queueMatching(object);
      return;
    }
    if (type === "added") expectations.creationSeen(key);
    if (type === "deleted" || object.metadata.deletionTimestamp !== undefined)
      expectations.deletionSeen(key, object.metadata.uid!);
    queue.add(key);
  });
}
