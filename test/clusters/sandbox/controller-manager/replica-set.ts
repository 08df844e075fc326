// SPDX-License-Identifier: Apache-2.0
import { errorMessage } from "../../../../lib/errors.ts";
import { objectKey } from "../../../../lib/kube-informer.ts";
import type { KubeObject } from "../../../../lib/kube-object.ts";
import { matchesLabels } from "../../../../lib/label-selector.ts";
import type { Controller } from "./controllers.ts";
import { Expectations } from "./expectations.ts";
import { followOwnedPods } from "./owned-pods.ts";
import { claimOwned, controllerReference } from "./ownership.ts";
import { isPodActive, isPodAvailable, isPodReady, sortForDeletion, untilAvailableMs } from "./pod-state.ts";
import { podFromTemplate } from "./pod-template.ts";
import { PodWrites } from "./pod-writes.ts";
import { resources } from "./resources.ts";
import { withCondition, withoutCondition, writeStatus } from "./status-write.ts";

const burst = 500;

/** Keeps as many pods of each ReplicaSet as it asks for. */
export function replicaSetController(controller: Controller): void {
  const sets = controller.informer(resources.replicaSets);
  const pods = controller.informer(resources.pods);
  const expectations = new Expectations();
  const writes = new PodWrites(controller, expectations);
  const queue = controller.queue(reconcile);
  sets.onChange(({ object }) => queue.add(objectKey(object)));
  followOwnedPods(pods, sets, "ReplicaSet", queue, expectations);

  async function reconcile(key: string): Promise<number | undefined> {
    const set = sets.get(key);
    if (set === undefined) {
      expectations.forget(key);
      return undefined;
    }
    const settled = expectations.satisfied(key);
    const owned = await claimOwned(
      {
        client: controller.client,
        owner: set,
        ownerResource: resources.replicaSets,
        resource: resources.pods,
        adoptable: isPodActive,
      },
      pods.list().filter((pod) => pod.metadata.namespace === set.metadata.namespace),
    );
    const active = owned.filter(isPodActive);
    let failure: unknown;
    if (settled && set.metadata.deletionTimestamp === undefined)
      failure = await scale(key, set, active).then(
        () => undefined,
        (error) => error,
      );
    await writeStatus(
      controller.client,
      resources.replicaSets,
      set,
      replicaSetStatus(set, active, failure, Date.now()),
    );
    if (failure !== undefined) throw failure;
    return untilAvailableMs(active, set.spec.minReadySeconds ?? 0, Date.now());
  }

  async function scale(key: string, set: KubeObject, active: KubeObject[]): Promise<void> {
    const missing = (set.spec.replicas ?? 1) - active.length;
    if (missing > 0) {
      const reference = controllerReference(set, resources.replicaSets);
      const make = () =>
        podFromTemplate(set.spec.template, {
          generateName: `${set.metadata.name}-`,
          ownerReferences: [reference],
        });
      await writes.createAll(set, key, Array.from({ length: Math.min(missing, burst) }, make));
    } else if (missing < 0)
      await writes.deleteAll(set, key, sortForDeletion(active).slice(0, Math.min(-missing, burst)));
  }
}

/** The status of a ReplicaSet with these active pods. */
function replicaSetStatus(
  set: KubeObject,
  active: KubeObject[],
  failure: unknown,
  nowMs: number,
): Record<string, unknown> {
  const minReadySeconds = set.spec.minReadySeconds ?? 0;
  const labels = set.spec.template?.metadata?.labels;
  const status: any = {
    ...set.status,
    replicas: active.length,
    fullyLabeledReplicas: active.filter((pod) => matchesLabels(labels, pod.metadata.labels)).length,
    readyReplicas: active.filter(isPodReady).length,
    availableReplicas: active.filter((pod) => isPodAvailable(pod, minReadySeconds, nowMs)).length,
    observedGeneration: set.metadata.generation,
  };
  for (const field of ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"])
    if (status[field] === 0) delete status[field];
  status.conditions =
    failure === undefined
      ? withoutCondition(set.status?.conditions, "ReplicaFailure")
      : withCondition(set.status?.conditions, {
          type: "ReplicaFailure",
          status: "True",
          reason: active.length < (set.spec.replicas ?? 1) ? "FailedCreate" : "FailedDelete",
          message: errorMessage(failure),
        });
  if (status.conditions.length === 0) delete status.conditions;
  return status;
}
