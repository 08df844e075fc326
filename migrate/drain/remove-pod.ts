// SPDX-License-Identifier: Apache-2.0
// One pod: eviction, retried until it is granted, then waiting until it is gone.
import { errorMessage } from "../../lib/errors.ts";
import { type KubeClient, resourcePath } from "../../lib/kube.ts";
import { ApiError, isConflict, isNotFound } from "../../lib/kube-errors.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import { sleep } from "../../lib/wait.ts";
import {
  explainEnding,
  explainRefusal,
  hasSeveralBudgets,
  isNamespaceTerminating,
  nameOf,
  refusalOf,
} from "./blockers.ts";
import type { Blocker } from "./drain-error.ts";
import type { DrainEvent, DrainSettings } from "./options.ts";
import { type Deadline, leftMs, mayPass, persist, requestTimeoutMs } from "./persist.ts";
import { isLongDeleted } from "./pod-filters.ts";

/** One drain that is under way. */
export interface Drain {
  kube: KubeClient;
  node: string;
  settings: DrainSettings;
  deadline: Deadline;
  /** Aborts when one pod can never go: refused evictions are not tried again then. */
  hopeless: AbortController;
  report(type: DrainEvent["type"], pod: KubeObject, message: string): void;
}

/** How it went with one pod. `blocked` says why it is still there. */
export type Outcome = { pod: KubeObject } & (
  | { result: "gone" | "given-up" | "allowed" }
  | { result: "blocked"; blocker: Blocker; cause?: unknown }
);

const podPath = (pod: KubeObject): string =>
  resourcePath("v1", "pods", pod.metadata.namespace, pod.metadata.name);

/** Evicts (or deletes) exactly this pod and waits until it is gone. Never throws but for an abort. */
export async function removePod(drain: Drain, pod: KubeObject): Promise<Outcome> {
  const { settings, report } = drain;
  const dryRun = settings.dryRun === "none" ? "" : ` (${settings.dryRun} dry run)`;
  report("evicting", pod, `${settings.disableEviction ? "deleting" : "evicting"}${dryRun}`);
  if (settings.dryRun === "client") return { pod, result: "allowed" };
  const answer = await requestUntilGranted(drain, pod);
  if (answer.result === "allowed" && settings.dryRun === "none") {
    report("ending", pod, "deleted; waiting for it to end");
    return await waitUntilGone(drain, pod);
  }
  if (answer.result === "gone") report("gone", pod, "gone");
  return answer;
}

async function requestUntilGranted(drain: Drain, pod: KubeObject): Promise<Outcome> {
  const { deadline, hopeless, settings, report } = drain;
  for (;;) {
    let refused: unknown;
    try {
      await requestRemoval(drain, pod);
      return { pod, result: "allowed" };
    } catch (error) {
      deadline.signal?.throwIfAborted();
      refused = error;
    }
    const now = await afterRefusal(drain, pod, refused);
    if (now !== undefined) return now;
    if (settings.dryRun === "server") return await blocked(drain, pod, refused);
    const isBudget = refused instanceof ApiError && refused.status === 429;
    const pauseMs =
      refused instanceof ApiError && refused.retryAfterSeconds
        ? refused.retryAfterSeconds * 1_000
        : settings.retryMs;
    report(
      isBudget ? "blocked" : "retrying",
      pod,
      `${refusalOf(refused)} (again in ${Math.round(pauseMs / 1_000)} s)`,
    );
    const againMs = Date.now() + pauseMs;
    const wake = AbortSignal.any([hopeless.signal, ...(deadline.signal ? [deadline.signal] : [])]);
    await sleep(Math.min(pauseMs, leftMs(deadline)), wake).catch(() => undefined);
    deadline.signal?.throwIfAborted();
    if (hopeless.signal.aborted || againMs > deadline.atMs) return await blocked(drain, pod, refused);
  }
}

/** What a refusal settles; undefined when it is to be tried again. */
async function afterRefusal(drain: Drain, pod: KubeObject, refused: unknown): Promise<Outcome | undefined> {
  if (hasSeveralBudgets(refused)) return await giveUp(drain, pod, refused);
  const isTerminatingNamespace = isNamespaceTerminating(refused);
  // The API server may take longer than a request to say that the UID is another one.
  const isUnanswered = !(refused instanceof ApiError);
  if (isNotFound(refused) || isConflict(refused) || isTerminatingNamespace || isUnanswered) {
    const current = await currentPod(drain, pod).catch(() => pod);
    if (current === undefined) return { pod, result: "gone" };
    if (isTerminatingNamespace)
      return current.metadata.deletionTimestamp === undefined ? undefined : { pod, result: "allowed" };
    // There is such a pod, and no such thing as its eviction.
    if (isNotFound(refused)) return await giveUp(drain, pod, refused);
    if (isConflict(refused)) return undefined;
  }
  return mayPass(refused) ? undefined : await giveUp(drain, pod, refused);
}

async function giveUp(drain: Drain, pod: KubeObject, refused: unknown): Promise<Outcome> {
  drain.hopeless.abort();
  return await blocked(drain, pod, refused);
}

async function blocked(drain: Drain, pod: KubeObject, cause: unknown): Promise<Outcome> {
  const blocker = await explainRefusal(drain.kube, pod, cause);
  drain.report("blocked", pod, `${blocker.reason}: ${blocker.unblock}`);
  return { pod, result: "blocked", blocker, cause };
}

/** Asks once. The UID makes sure that no other pod of the same name is meant. */
async function requestRemoval({ kube, settings, deadline }: Drain, pod: KubeObject): Promise<void> {
  const deleteOptions = {
    preconditions: { uid: pod.metadata.uid },
    ...(settings.gracePeriodSeconds < 0 ? {} : { gracePeriodSeconds: settings.gracePeriodSeconds }),
    ...(settings.dryRun === "server" ? { dryRun: ["All"] } : {}),
  };
  const timeoutMs = requestTimeoutMs(deadline);
  if (settings.disableEviction) {
    const body = { apiVersion: "v1", kind: "DeleteOptions", ...deleteOptions };
    await kube.request("DELETE", podPath(pod), { body, timeoutMs });
    return;
  }
  const { namespace, name } = pod.metadata;
  const body = {
    apiVersion: "policy/v1",
    kind: "Eviction",
    metadata: { namespace, name },
    deleteOptions,
  };
  await kube.request("POST", `${podPath(pod)}/eviction`, { body, timeoutMs });
}

/** The pod as it is now; undefined when it is gone, also when another has its name. */
async function currentPod(drain: Drain, pod: KubeObject): Promise<KubeObject | undefined> {
  const { kube, deadline } = drain;
  const found = await persist(
    deadline,
    () => kube.find(podPath(pod), { timeoutMs: requestTimeoutMs(deadline) }),
    (why) => drain.report("retrying", pod, why),
  );
  return found?.metadata.uid === pod.metadata.uid ? found : undefined;
}

async function waitUntilGone(drain: Drain, pod: KubeObject): Promise<Outcome> {
  const { settings, deadline, report } = drain;
  let last = pod;
  for (;;) {
    let current: KubeObject | undefined;
    try {
      current = await currentPod(drain, pod);
    } catch (cause) {
      deadline.signal?.throwIfAborted();
      const reason = `cannot see whether it is gone: ${errorMessage(cause)}`;
      const blocker = {
        pod: nameOf(pod),
        reason,
        budgets: [],
        unblock: "let this user read pods, or bring the API server back",
      };
      return { pod, result: "blocked", blocker, cause };
    }
    if (current === undefined) {
      report("gone", pod, "gone");
      return { pod, result: "gone" };
    }
    last = current;
    if (isLongDeleted(current, settings, Date.now())) {
      const limit = settings.skipWaitForDeleteTimeoutSeconds;
      report("given-up", pod, `deleted more than ${limit} s ago; not waiting any longer`);
      return { pod, result: "given-up" };
    }
    if (leftMs(deadline) === 0) {
      const blocker = await explainEnding(drain.kube, last, drain.node);
      report("blocked", pod, `${blocker.reason}: ${blocker.unblock}`);
      return { pod, result: "blocked", blocker };
    }
    await sleep(Math.min(settings.pollMs, leftMs(deadline)), deadline.signal);
  }
}
