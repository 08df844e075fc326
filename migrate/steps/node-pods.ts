// SPDX-License-Identifier: Apache-2.0
import { type KubeClient, resourcePath } from "../../lib/kube.ts";
import { ApiError, isNotFound } from "../../lib/kube-errors.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import { waitFor } from "../../lib/wait.ts";
import type { NodeTask } from "../model/tools.ts";

const pods = (namespace?: string, name?: string): string => resourcePath("v1", "pods", namespace, name);

const hasOwnNetwork = ({ spec, status }: KubeObject): boolean =>
  spec?.hostNetwork !== true && !["Succeeded", "Failed"].includes(status?.phase);

/** Pods of a node that have an interface of a pod network. */
export async function networkedPods(kube: KubeClient, node: string): Promise<KubeObject[]> {
  const { items } = await kube.list(pods(), { fieldSelector: `spec.nodeName=${node}` });
  return items.filter(hasOwnNetwork);
}

export const uidsOf = (list: KubeObject[]): string[] => list.map(({ metadata }) => metadata.uid!);

interface Recreation {
  kube: KubeClient;
  node: string;
  /** The pods that have to go; others of the node stay. */
  uids: ReadonlySet<string>;
  tasks: NodeTask;
  signal: AbortSignal;
  report: (progress: string) => void;
}

/**
 * Replaces pods one by one, each only when the one before is back. Static pods get new sandboxes instead. Safe to
 * run again: pods that are gone are not chased.
 */
export async function recreatePods(recreation: Recreation): Promise<number> {
  const { kube, node, uids, tasks, signal, report } = recreation;
  const left = (await networkedPods(kube, node)).filter(({ metadata }) => uids.has(metadata.uid!));
  const isStatic = ({ metadata }: KubeObject): boolean =>
    metadata.annotations?.["kubernetes.io/config.mirror"] !== undefined;
  for (const [index, pod] of left.filter((entry) => !isStatic(entry)).entries()) {
    report(`${index + 1} of ${left.length}: ${pod.metadata.namespace}/${pod.metadata.name}`);
    await replacePod(kube, node, pod, signal);
  }
  const staticPods = left.filter(isStatic);
  if (staticPods.length > 0) {
    // A mirror pod's own UID is the API server's; the kubelet knows the pod by the hash of its file.
    const hashes = staticPods.map(({ metadata }) => metadata.annotations!["kubernetes.io/config.mirror"]!);
    await tasks.run("recreate-sandboxes", node, { uids: hashes }, { signal });
    for (const pod of staticPods) await waitForNewContainers(kube, node, pod, signal);
  }
  return left.length;
}

const isReady = (pod: KubeObject): boolean =>
  pod.status?.conditions?.some(({ type, status }: any) => type === "Ready" && status === "True") === true;

const containerIds = (pod: KubeObject): string[] =>
  (pod.status?.containerStatuses ?? []).flatMap(({ containerID }: any) => containerID ?? []);

/** Waits until the kubelet has made a static pod anew, and it is as ready as it was. */
async function waitForNewContainers(
  kube: KubeClient,
  node: string,
  pod: KubeObject,
  signal: AbortSignal,
): Promise<void> {
  const { namespace, name } = pod.metadata;
  const before = new Set(containerIds(pod));
  const isNew = async (): Promise<boolean> => {
    const now = await kube.find(pods(namespace, name));
    // Its manifest was taken away meanwhile.
    if (now === undefined) return true;
    const isRenewed = before.size === 0 || containerIds(now).every((id) => !before.has(id));
    return isRenewed && (isReady(now) || !isReady(pod));
  };
  await waitFor(`static pod ${namespace}/${name} to be back on node ${node}`, isNew, {
    timeoutMs: 180_000,
    intervalMs: 500,
    signal,
    remedy: `See kubectl -n ${namespace} describe pod ${name}, and the kubelet's log on ${node}.`,
  });
}

async function replacePod(
  kube: KubeClient,
  node: string,
  pod: KubeObject,
  signal: AbortSignal,
): Promise<void> {
  const { namespace, name, uid } = pod.metadata;
  const path = pods(namespace, name);
  try {
    await kube.delete(path, { apiVersion: "v1", kind: "DeleteOptions", preconditions: { uid } });
  } catch (error) {
    const isOther = error instanceof ApiError && error.status === 409;
    if (!isNotFound(error) && !isOther) throw error;
  }
  const graceMs = 1000 * (pod.spec?.terminationGracePeriodSeconds ?? 30);
  await waitFor(
    `pod ${namespace}/${name} to end`,
    async () => (await kube.find(path))?.metadata.uid !== uid,
    {
      timeoutMs: graceMs + 120_000,
      intervalMs: 300,
      signal,
      remedy: `See kubectl -n ${namespace} describe pod ${name}.`,
    },
  );
  const owner = pod.metadata.ownerReferences?.find(({ controller }) => controller === true);
  if (owner?.kind !== "DaemonSet") return;
  await waitFor(
    `DaemonSet ${namespace}/${owner.name} to be back on node ${node}`,
    async () => await isBack(kube, node, namespace!, owner),
    {
      timeoutMs: 300_000,
      intervalMs: 500,
      signal,
      remedy: `See kubectl -n ${namespace} describe daemonset ${owner.name}.`,
    },
  );
}

async function isBack(
  kube: KubeClient,
  node: string,
  namespace: string,
  owner: { name: string; uid: string },
): Promise<boolean> {
  const set = await kube.find(resourcePath("apps/v1", "daemonsets", namespace, owner.name));
  // A DaemonSet that is gone, or that does not want this node any more, has nothing to bring back.
  if (set === undefined || set.metadata.uid !== owner.uid) return true;
  const { items } = await kube.list(pods(namespace), { fieldSelector: `spec.nodeName=${node}` });
  const own = items.filter(({ metadata }) => metadata.ownerReferences?.some(({ uid }) => uid === owner.uid));
  return own.some((pod) => pod.metadata.deletionTimestamp === undefined && isReady(pod));
}
