// SPDX-License-Identifier: Apache-2.0
import { createHash } from "node:crypto";
import { errorMessage, ShuntError } from "../../lib/errors.ts";
import { type KubeClient, resourcePath } from "../../lib/kube.ts";
import type { KubeObject, OwnerReference } from "../../lib/kube-object.ts";
import { sleep } from "../../lib/wait.ts";
import { type Deadline, deadlineIn, leftMs, persist, requestTimeoutMs } from "../drain/persist.ts";
import type { Json } from "../model/journal.ts";
import type { NodeTask, NodeTaskKind } from "../model/tools.ts";
import { readTaskDocument } from "./task-document.ts";
import { taskPod } from "./task-pod.ts";

const namespace = "kube-system";
const agentName = "shunt-agent";

/** Label of every task's pod: its kind. */
export const taskLabel = "shunt.dev/node-task";
const nodeLabel = "shunt.dev/node-task-node";

export interface NodeTaskOptions {
  /** Image of the agent; absent: the one that the agent's DaemonSet has. */
  image?: string;
  /** Default: the DaemonSet's, or IfNotPresent. */
  imagePullPolicy?: string;
  /** Takes the pods with it when it goes, should Shunt not come to remove them. */
  owner?: OwnerReference;
  /** How long one task may take, its pod's start and end included. Default 300,000. */
  timeoutMs?: number;
}

const podPath = (name?: string): string => resourcePath("v1", "pods", namespace, name);

/** Runs tasks in pods of their own, one a call. */
export function createNodeTask(kube: KubeClient, options: NodeTaskOptions = {}): NodeTask {
  return {
    run: (kind, node, args, { signal }) => runTask({ kube, options, kind, node, args, signal }),
    // Facts are asked for without a lease, perhaps by somebody else at this moment.
    sweep: () => removeLeftoverTasks(kube, taskLabel, (pod) => pod.metadata.labels?.[taskLabel] !== "facts"),
  };
}

/** Removes the pods of tasks that nobody waits for any more, after a crash. Returns their names. */
export async function removeLeftoverTasks(
  kube: KubeClient,
  selector: string = taskLabel,
  isLeft: (pod: KubeObject) => boolean = () => true,
): Promise<string[]> {
  const { items } = await kube.list(podPath(), { labelSelector: selector });
  const names = items.filter(isLeft).map((pod) => pod.metadata.name ?? "");
  for (const name of names) await removePod(kube, name);
  return names;
}

interface TaskCall {
  kube: KubeClient;
  options: NodeTaskOptions;
  kind: NodeTaskKind;
  node: string;
  args: Json;
  signal: AbortSignal;
}

async function runTask(call: TaskCall): Promise<Json> {
  const { kube, kind, node, signal } = call;
  const timeoutMs = call.options.timeoutMs ?? 300_000;
  const deadline = deadlineIn(timeoutMs, signal);
  const what = `Task ${kind} on node "${node}"`;
  let name: string | undefined;
  try {
    await removePredecessors(kube, kind, node, deadline);
    const pod = await preparePod(call, deadline, timeoutMs);
    name = pod.metadata.name;
    await persist(deadline, () => createOnce(kube, pod));
    await waitUntilEnded(kube, pod.metadata.name ?? "", deadline, what);
    const log = await persist(deadline, () =>
      kube.request<unknown>("GET", `${podPath(pod.metadata.name)}/log`, {
        query: { container: "task" },
        accept: "*/*",
        timeoutMs: requestTimeoutMs(deadline),
      }),
    );
    return readTaskDocument(typeof log === "string" ? log : JSON.stringify(log), what);
  } catch (cause) {
    signal.throwIfAborted();
    if (cause instanceof ShuntError && cause.message.startsWith(what)) throw cause;
    throw new ShuntError(`${what}: ${errorMessage(cause)}`, {
      code: cause instanceof ShuntError ? cause.code : "NodeTaskFailed",
      ...(cause instanceof ShuntError && cause.remedy !== undefined ? { remedy: cause.remedy } : {}),
      cause,
    });
  } finally {
    // Aborted or not; should this fail too, the next run removes it, or its owner, and its own deadline ends it.
    if (name !== undefined) await removePod(kube, name).catch(() => undefined);
  }
}

async function removePod(kube: KubeClient, name: string): Promise<void> {
  const deadline = deadlineIn(15_000);
  await persist(deadline, () => kube.deleteIfExists(podPath(name), { gracePeriodSeconds: 0 }));
}

/** A name of a node as the value of a label, which is shorter. */
function nodeHash(node: string): string {
  return createHash("sha256").update(node).digest("hex").slice(0, 16);
}

/** Two of a kind on one node must not work at the same time: the older one's operator is dead. */
async function removePredecessors(
  kube: KubeClient,
  kind: NodeTaskKind,
  node: string,
  deadline: Deadline,
): Promise<void> {
  const selector = `${taskLabel}=${kind},${nodeLabel}=${nodeHash(node)}`;
  for (;;) {
    const names = await persist(deadline, () => removeLeftoverTasks(kube, selector));
    if (names.length === 0) return;
    if (leftMs(deadline) === 0)
      throw new ShuntError(`an earlier pod of it does not end: ${names.join(", ")}`, {
        code: "Timeout",
        remedy: `See with kubectl -n ${namespace} describe pod why, and whether the node's kubelet runs.`,
      });
    await sleep(200, deadline.signal);
  }
}

async function preparePod(call: TaskCall, deadline: Deadline, timeoutMs: number): Promise<KubeObject> {
  const { kube, kind, node, args, options } = call;
  const path = resourcePath("apps/v1", "daemonsets", namespace, agentName);
  const agent = await persist(deadline, () => kube.find(path, { timeoutMs: requestTimeoutMs(deadline) }));
  const template = agent?.spec?.template?.spec;
  const container = template?.containers?.[0];
  const image = options.image ?? container?.image;
  if (image === undefined)
    throw new ShuntError(`DaemonSet ${namespace}/${agentName} is not there, whose image it needs`, {
      code: "NoImage",
      remedy: "Install the agent first, or name its image.",
    });
  const pod = taskPod({
    kind,
    node,
    args,
    image,
    imagePullPolicy: options.imagePullPolicy ?? container?.imagePullPolicy ?? "IfNotPresent",
    imagePullSecrets: template?.imagePullSecrets,
    deadlineSeconds: Math.max(1, Math.ceil(timeoutMs / 1_000)),
  });
  pod.metadata.namespace = namespace;
  pod.metadata.labels = { ...pod.metadata.labels, [taskLabel]: kind, [nodeLabel]: nodeHash(node) };
  if (options.owner !== undefined) pod.metadata.ownerReferences = [options.owner];
  return pod;
}

/** Makes the pod; one that is there already is our own, from a try whose answer was lost. */
async function createOnce(kube: KubeClient, pod: KubeObject): Promise<void> {
  if ((await kube.find(podPath(pod.metadata.name))) === undefined) await kube.create(podPath(), pod);
}

const hopelessReasons = new Set(["InvalidImageName", "ErrImageNeverPull", "CreateContainerConfigError"]);

async function waitUntilEnded(
  kube: KubeClient,
  name: string,
  deadline: Deadline,
  what: string,
): Promise<void> {
  for (;;) {
    const pod = await persist(deadline, () =>
      kube.get(podPath(name), { timeoutMs: requestTimeoutMs(deadline) }),
    );
    const status = pod.status ?? {};
    const state = status.containerStatuses?.[0]?.state;
    if (state?.terminated !== undefined) return;
    const why = state?.waiting?.message ?? state?.waiting?.reason ?? status.message ?? status.reason;
    if (status.phase === "Failed" || status.phase === "Succeeded")
      throw new ShuntError(`${what} did not run: ${why ?? status.phase}`, { code: "NodeTaskFailed" });
    if (leftMs(deadline) === 0 || hopelessReasons.has(state?.waiting?.reason))
      throw new ShuntError(
        `${what} did not end: its pod is ${status.phase ?? "new"}${why ? ` (${why})` : ""}`,
        {
          code: "Timeout",
          remedy: "See that the node's kubelet runs and that the node can get the agent's image.",
        },
      );
    await sleep(250, deadline.signal);
  }
}
