// SPDX-License-Identifier: Apache-2.0
// What holds a pod, and what would let it go.
import { errorMessage } from "../../lib/errors.ts";
import { type KubeClient, resourcePath } from "../../lib/kube.ts";
import { ApiError } from "../../lib/kube-errors.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import { matchesSelector } from "../../lib/label-selector.ts";
import type { Blocker } from "./drain-error.ts";

/** `namespace/name` of an object. */
export const nameOf = (object: KubeObject): string => `${object.metadata.namespace}/${object.metadata.name}`;

/** What the API server said against an eviction: the cause if it names one, else its message. */
export function refusalOf(error: unknown): string {
  if (!(error instanceof ApiError)) return errorMessage(error);
  const cause = causes(error).find(({ reason }) => reason === "DisruptionBudget");
  return cause?.message ?? error.body?.message ?? error.message;
}

function causes(error: ApiError): { reason?: string; message?: string }[] {
  return error.body?.details?.causes ?? [];
}

/** Whether the namespace of the pod is going, which forbids evictions. */
export function isNamespaceTerminating(error: unknown): boolean {
  return (
    error instanceof ApiError &&
    error.status === 403 &&
    causes(error).some(({ reason }) => reason === "NamespaceTerminating")
  );
}

/** Whether the API server refuses because several budgets select the pod, which time does not mend. */
export function hasSeveralBudgets(error: unknown): boolean {
  return (
    error instanceof ApiError &&
    error.status === 500 &&
    /more than one PodDisruptionBudget/i.test(String(error.body?.message ?? ""))
  );
}

/** Explains an eviction that was refused, with the budgets that select the pod as they are now. */
export async function explainRefusal(kube: KubeClient, pod: KubeObject, error: unknown): Promise<Blocker> {
  const blocker: Blocker = { pod: nameOf(pod), reason: refusalOf(error), budgets: [], unblock: "" };
  const budgets = await budgetsOf(kube, pod);
  blocker.budgets = budgets.map(nameOf);
  if (hasSeveralBudgets(error)) {
    blocker.reason = `${budgets.length || "several"} PodDisruptionBudgets select it (${blocker.budgets.join(", ")}), which evictions do not support`;
    blocker.unblock =
      "leave one budget that selects it: change the selector of the others or delete them. " +
      "Or delete the pod with disableEviction, which goes past all budgets.";
  } else if (isNamespaceTerminating(error))
    blocker.unblock = `its namespace ${pod.metadata.namespace} is being deleted: wait for that or see what holds it with kubectl describe namespace`;
  else if (error instanceof ApiError && error.status === 403)
    blocker.unblock = "allow this user to create pods/eviction in that namespace, or see the webhook named";
  else if (budgets[0] !== undefined)
    blocker.unblock = await unblockBudget(kube, budgets[0], pod.metadata.namespace ?? "");
  else blocker.unblock = "see the API server's answer above; the same eviction may be tried again";
  return blocker;
}

/** Explains a pod that is deleted and does not end. */
export async function explainEnding(kube: KubeClient, pod: KubeObject, node: string): Promise<Blocker> {
  const { deletionTimestamp, finalizers = [] } = pod.metadata;
  const base = { pod: nameOf(pod), budgets: [] };
  if (deletionTimestamp === undefined)
    return {
      ...base,
      reason: "it was to be deleted and is still there",
      unblock: "see its events with kubectl describe pod",
    };
  if (finalizers.length > 0)
    return {
      ...base,
      reason: `it is deleted since ${deletionTimestamp}, held by finalizer ${finalizers.join(", ")}`,
      unblock: `the controller that owns ${finalizers.join(", ")} must remove it; see that it runs`,
    };
  const path = resourcePath("v1", "nodes", undefined, node);
  const object = await kube.get(path, { timeoutMs: 5_000 }).catch(() => undefined);
  const ready = object?.status?.conditions?.find((entry: any) => entry.type === "Ready")?.status;
  if (ready !== undefined && ready !== "True")
    return {
      ...base,
      reason: `it is ending, and the kubelet of node ${node} does not answer (Ready is ${ready})`,
      unblock: `bring the node back; if its machine is off for certain: kubectl delete pod -n ${pod.metadata.namespace} ${pod.metadata.name} --force --grace-period=0`,
    };
  const endMs = Date.parse(deletionTimestamp);
  if (endMs > Date.now())
    return {
      ...base,
      reason: `it is ending; its grace period runs until ${deletionTimestamp}`,
      unblock: "give a longer timeoutSeconds, or a shorter gracePeriodSeconds",
    };
  return {
    ...base,
    reason: `its grace period ended at ${deletionTimestamp} and its containers still run`,
    unblock: `look at the kubelet and the container runtime of node ${node}: a process that cannot be killed, or a volume that does not unmount`,
  };
}

async function budgetsOf(kube: KubeClient, pod: KubeObject): Promise<KubeObject[]> {
  const path = resourcePath("policy/v1", "poddisruptionbudgets", pod.metadata.namespace);
  const list = await kube.list(path, {}, { timeoutMs: 5_000 }).catch(() => undefined);
  return (list?.items ?? []).filter((budget) => matchesSelector(budget.spec?.selector, pod.metadata.labels));
}

async function unblockBudget(kube: KubeClient, budget: KubeObject, namespace: string): Promise<string> {
  const { spec = {}, status = {}, metadata } = budget;
  const { desiredHealthy = 0, currentHealthy = 0, expectedPods = 0 } = status;
  const name = nameOf(budget);
  if ((status.observedGeneration ?? 0) < (metadata.generation ?? 0))
    return `budget ${name} was not looked at yet: see that kube-controller-manager runs`;
  if (desiredHealthy >= expectedPods && currentHealthy >= desiredHealthy) {
    const rule =
      spec.maxUnavailable === undefined || spec.maxUnavailable === null
        ? `minAvailable ${spec.minAvailable}`
        : `maxUnavailable ${spec.maxUnavailable}`;
    return `budget ${name} (${rule}) never allows one of its ${expectedPods} pods to go: scale its workload up by one, or relax the budget`;
  }
  const unready = await unreadyPods(kube, budget, namespace);
  const which = unready.length === 0 ? "" : ` (not ready: ${unready.join(", ")})`;
  const policy =
    spec.unhealthyPodEvictionPolicy === "AlwaysAllow"
      ? ""
      : "; pods that never get ready can go with unhealthyPodEvictionPolicy: AlwaysAllow";
  return `budget ${name} has ${currentHealthy} of ${desiredHealthy} healthy pods it needs${which}: get them ready${policy}`;
}

async function unreadyPods(kube: KubeClient, budget: KubeObject, namespace: string): Promise<string[]> {
  const path = resourcePath("v1", "pods", namespace);
  const list = await kube.list(path, {}, { timeoutMs: 5_000 }).catch(() => undefined);
  return (list?.items ?? [])
    .filter((pod) => matchesSelector(budget.spec?.selector, pod.metadata.labels) && !isReady(pod))
    .map((pod) => pod.metadata.name ?? "")
    .slice(0, 5);
}

const isReady = (pod: KubeObject): boolean =>
  (pod.status?.conditions ?? []).some((entry: any) => entry.type === "Ready" && entry.status === "True");
