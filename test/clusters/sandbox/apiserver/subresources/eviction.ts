// SPDX-License-Identifier: Apache-2.0
import { matchesSelector } from "../../../../../lib/label-selector.ts";
import { type Call, timestamp } from "../api.ts";
import { deleteObject, deleteOptions } from "../delete.ts";
import type { KubeObject } from "../resources/index.ts";
import { badRequest, StatusError } from "../status.ts";
import { getObject } from "../write.ts";

const RETRY_AFTER_SECONDS = 10;

/** Deletes a pod if its disruption budgets allow it. Throws a 429 when they do not, a 500 when there are two. */
export function evictPod(call: Call, eviction: KubeObject): KubeObject {
  const { info, api } = call;
  if (eviction.metadata.name && eviction.metadata.name !== info.name)
    throw badRequest("name in URL does not match name in Eviction object");
  const options = deleteOptions(call, eviction.deleteOptions);
  const pod = getObject(call);
  if (needsBudget(pod)) {
    const budgets = api.store
      .list("policy", "poddisruptionbudgets", info.namespace)
      .filter((budget) => matchesSelector(budget.spec?.selector, pod.metadata.labels));
    if (budgets.length > 1)
      throw new StatusError(
        500,
        "InternalError",
        "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
      );
    if (budgets[0] !== undefined) spendBudget(call, budgets[0], pod);
  }
  deleteObject(call, pod, options);
  return { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success", code: 201 };
}

function needsBudget(pod: KubeObject): boolean {
  if (pod.metadata.deletionTimestamp !== undefined) return false;
  return !["Succeeded", "Failed", "Pending"].includes(pod.status?.phase);
}

const isReady = (pod: KubeObject): boolean =>
  (pod.status?.conditions ?? []).some(
    (entry: KubeObject) => entry.type === "Ready" && entry.status === "True",
  );

// As the real server: it names a time to wait only for a budget that its controller has not seen yet.
function tooManyRequests(budget: KubeObject, why: string, retryAfterSeconds?: number): StatusError {
  return new StatusError(
    429,
    "TooManyRequests",
    "Cannot evict pod as it would violate the pod's disruption budget.",
    {
      causes: [
        { reason: "DisruptionBudget", message: `The disruption budget ${budget.metadata.name} ${why}` },
      ],
      ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
    },
  );
}

function spendBudget(call: Call, budget: KubeObject, pod: KubeObject): void {
  const status = budget.status ?? {};
  const alwaysAllowed = budget.spec?.unhealthyPodEvictionPolicy === "AlwaysAllow";
  const healthyEnough =
    (status.currentHealthy ?? 0) >= (status.desiredHealthy ?? 0) && (status.desiredHealthy ?? 0) > 0;
  if (!isReady(pod) && (alwaysAllowed || healthyEnough)) return;
  if ((status.observedGeneration ?? 0) < (budget.metadata.generation ?? 0))
    throw tooManyRequests(budget, "is still being processed by the server.", RETRY_AFTER_SECONDS);
  if ((status.disruptionsAllowed ?? 0) <= 0) {
    const needs = `needs ${status.desiredHealthy ?? 0} healthy pods and has ${status.currentHealthy ?? 0} currently`;
    throw tooManyRequests(budget, needs);
  }
  if (call.dryRun) return;
  call.api.store.put("policy", "poddisruptionbudgets", {
    ...budget,
    status: {
      ...status,
      disruptionsAllowed: status.disruptionsAllowed - 1,
      disruptedPods: { ...status.disruptedPods, [pod.metadata.name]: timestamp() },
    },
  });
}
