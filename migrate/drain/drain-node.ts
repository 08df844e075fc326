// SPDX-License-Identifier: Apache-2.0
import { errorMessage, ShuntError } from "../../lib/errors.ts";
import { type KubeClient, resourcePath } from "../../lib/kube.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import { nameOf } from "./blockers.ts";
import { type Blocker, DrainError } from "./drain-error.ts";
import { type DrainOptions, type DrainSettings, drainSettings } from "./options.ts";
import { type Deadline, deadlineIn, persist, requestTimeoutMs } from "./persist.ts";
import { daemonSetOf, judgePod, type PodVerdict } from "./pod-filters.ts";
import { type Drain, type Outcome, removePod } from "./remove-pod.ts";
import { groupsOf, waitForReplacement } from "./replacement.ts";

/** What a drain did. Pods are `namespace/name`. */
export interface DrainResult {
  node: string;
  /** Gone; in a dry run: would be evicted. */
  evicted: string[];
  /** Deleted and not waited for any longer (skipWaitForDeleteTimeoutSeconds). */
  givenUp: string[];
  skipped: { pod: string; reason: string }[];
  warnings: { pod: string; warning: string }[];
  /** In a server dry run: whose eviction the API server would refuse now. */
  blocked: Blocker[];
  /** Came to the node meanwhile although it is cordoned: they tolerate that. */
  returned: string[];
}

interface Judged {
  pod: KubeObject;
  verdict: PodVerdict;
}

/**
 * Evicts all pods of a node that is cordoned, those of one controller one after another, and waits until they are gone. Evicts none when a filter
 * refuses one. Always ends: at the latest with a DrainError at the deadline, which names what is left and why.
 */
export async function drainNode(
  kube: KubeClient,
  node: string,
  options: DrainOptions = {},
): Promise<DrainResult> {
  const settings = drainSettings(options);
  const deadline = deadlineIn(settings.timeoutSeconds * 1_000, settings.signal);
  try {
    if (settings.dryRun === "none") await checkCordoned(kube, node, deadline);
    const judged = await judgePods(kube, node, settings, deadline);
    return await evictAll(kube, node, settings, deadline, judged);
  } catch (cause) {
    settings.signal?.throwIfAborted();
    if (cause instanceof DrainError) throw cause;
    throw new ShuntError(`Cannot drain node "${node}": ${errorMessage(cause)}`, {
      code: cause instanceof ShuntError ? cause.code : "DrainFailed",
      remedy: (cause instanceof ShuntError ? cause.remedy : undefined) ?? "Mend the cause and run it again.",
      cause,
    });
  }
}

async function checkCordoned(kube: KubeClient, node: string, deadline: Deadline): Promise<void> {
  const path = resourcePath("v1", "nodes", undefined, node);
  const object = await persist(deadline, () => kube.get(path, { timeoutMs: requestTimeoutMs(deadline) }));
  if (object.spec?.unschedulable !== true)
    throw new ShuntError("it is not cordoned, so that evicted pods could come back to it", {
      code: "NotCordoned",
      remedy: "Cordon it first, and see that nothing uncordons it.",
    });
}

async function podsOf(
  kube: KubeClient,
  node: string,
  settings: DrainSettings,
  deadline: Deadline,
): Promise<KubeObject[]> {
  const query = {
    fieldSelector: `spec.nodeName=${node}`,
    limit: settings.chunkSize,
    ...(settings.podSelector === "" ? {} : { labelSelector: settings.podSelector }),
  };
  const read = () => kube.list(resourcePath("v1", "pods"), query, { timeoutMs: requestTimeoutMs(deadline) });
  return (await persist(deadline, read)).items;
}

async function judgePods(
  kube: KubeClient,
  node: string,
  settings: DrainSettings,
  deadline: Deadline,
): Promise<Judged[]> {
  const pods = await podsOf(kube, node, settings, deadline);
  const missing = await missingDaemonSets(kube, pods, deadline);
  const context = {
    nowMs: Date.now(),
    hasDaemonSet: (namespace: string, name: string) => !missing.has(`${namespace}/${name}`),
  };
  const judged = pods.map((pod) => ({ pod, verdict: judgePod(pod, settings, context) }));
  const refused = judged.filter(({ verdict }) => verdict.action === "refuse");
  if (refused.length > 0) {
    const blockers = refused.map(({ pod, verdict }) => ({
      pod: nameOf(pod),
      reason: verdict.reason ?? "",
      budgets: [],
      unblock: "set the option named, or move the pod by hand",
    }));
    throw new DrainError(`Cannot drain node "${node}": no pod was evicted`, "DrainRefused", blockers);
  }
  return judged;
}

/** Which DaemonSets that these pods name are not in the cluster. */
async function missingDaemonSets(
  kube: KubeClient,
  pods: KubeObject[],
  deadline: Deadline,
): Promise<Set<string>> {
  const named = new Map<string, string>();
  for (const pod of pods) {
    const owner = daemonSetOf(pod);
    const { namespace } = pod.metadata;
    if (owner !== undefined)
      named.set(`${namespace}/${owner.name}`, resourcePath("apps/v1", "daemonsets", namespace, owner.name));
  }
  const found = await Promise.all(
    [...named].map(async ([key, path]) => {
      const read = () => kube.find(path, { timeoutMs: requestTimeoutMs(deadline) });
      return (await persist(deadline, read)) === undefined ? key : undefined;
    }),
  );
  return new Set(found.filter((key) => key !== undefined));
}

async function evictAll(
  kube: KubeClient,
  node: string,
  settings: DrainSettings,
  deadline: Deadline,
  judged: Judged[],
): Promise<DrainResult> {
  const going = judged.filter(({ verdict }) => verdict.action === "evict").map(({ pod }) => pod);
  let left = going.length;
  const drain: Drain = {
    kube,
    node,
    settings,
    deadline,
    hopeless: new AbortController(),
    report: (type, pod, message) => settings.onProgress({ type, pod: nameOf(pod), message, left }),
  };
  const result: DrainResult = {
    node,
    evicted: [],
    givenUp: [],
    skipped: [],
    warnings: [],
    blocked: [],
    returned: [],
  };
  for (const { pod, verdict } of judged) {
    for (const warning of verdict.warnings) {
      result.warnings.push({ pod: nameOf(pod), warning });
      drain.report("warning", pod, warning);
    }
    if (verdict.action !== "skip") continue;
    result.skipped.push({ pod: nameOf(pod), reason: verdict.reason ?? "" });
    drain.report("skipped", pod, verdict.reason ?? "");
  }
  // Controllers side by side: a pod may be held by a budget until another one, evicted too, runs elsewhere.
  const outcomes = await Promise.all(
    groupsOf(going).map(async (group) => {
      const results: Outcome[] = [];
      for (const [index, pod] of group.entries()) {
        if (index > 0) await waitForReplacement(drain, group[index - 1]!);
        const outcome = await removePod(drain, pod);
        if (outcome.result !== "blocked") left--;
        results.push(outcome);
      }
      return results;
    }),
  );
  for (const outcome of outcomes.flat()) {
    if (outcome.result === "blocked") result.blocked.push(outcome.blocker);
    else if (outcome.result === "given-up") result.givenUp.push(nameOf(outcome.pod));
    else result.evicted.push(nameOf(outcome.pod));
  }
  if (result.blocked.length > 0 && settings.dryRun === "none") throw undrained(drain, result.blocked);
  if (settings.dryRun === "none") {
    const before = new Set(judged.map(({ pod }) => pod.metadata.uid));
    const now = await podsOf(kube, node, settings, deadline).catch(() => []);
    result.returned = now
      .filter((pod) => !before.has(pod.metadata.uid) && daemonSetOf(pod) === undefined)
      .map(nameOf);
  }
  return result;
}

function undrained({ node, settings, hopeless }: Drain, blockers: Blocker[]): DrainError {
  const when = hopeless.signal.aborted ? "" : ` within ${settings.timeoutSeconds} s`;
  const pods = blockers.length === 1 ? "1 pod is" : `${blockers.length} pods are`;
  return new DrainError(`Cannot drain node "${node}"${when}: ${pods} still there`, "DrainBlocked", blockers);
}

/** Names of the nodes that a label selector (`--selector` of kubectl) selects. */
export async function selectNodes(
  kube: KubeClient,
  selector: string,
  options: { chunkSize?: number; timeoutMs?: number; signal?: AbortSignal } = {},
): Promise<string[]> {
  const deadline = deadlineIn(options.timeoutMs ?? 60_000, options.signal);
  const query = { labelSelector: selector, limit: options.chunkSize ?? 500 };
  const read = () => kube.list(resourcePath("v1", "nodes"), query);
  const { items } = await persist(deadline, read);
  if (items.length === 0)
    throw new ShuntError(`No node has the labels "${selector}"`, {
      code: "NotFound",
      remedy: "See them with: kubectl get nodes --show-labels",
    });
  return items.map(({ metadata }) => metadata.name ?? "");
}
