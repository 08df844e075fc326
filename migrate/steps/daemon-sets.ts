// SPDX-License-Identifier: Apache-2.0
import { ShuntError } from "../../lib/errors.ts";
import { type KubeClient, resourcePath } from "../../lib/kube.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import { waitFor } from "../../lib/wait.ts";
import type { ObjectRef } from "../model/inventory.ts";
import type { Json } from "../model/journal.ts";

/** A label that no node has: a DaemonSet that selects it runs nowhere, and is otherwise as it was. */
const nowhere = { "non-existing": "true" };

/** How a workload was before it was stopped. */
export interface StoppedWorkload {
  [field: string]: Json | undefined;
  kind: string;
  namespace: string;
  name: string;
  /** Of a DaemonSet: null when it had none. */
  nodeSelector: { [label: string]: string } | null;
  /** Of a Deployment. */
  replicas: number | null;
}

const pathOf = ({ kind, namespace, name }: { kind: string; namespace?: string; name: string }): string =>
  resourcePath("apps/v1", `${kind.toLowerCase()}s`, namespace ?? "kube-system", name);

/** What undo needs of a DaemonSet or Deployment; undefined when it is not there or is something else. */
export async function rememberWorkload(
  kube: KubeClient,
  ref: ObjectRef,
): Promise<StoppedWorkload | undefined> {
  if (ref.kind !== "DaemonSet" && ref.kind !== "Deployment") return undefined;
  const object = await kube.find(pathOf(ref));
  if (object === undefined) return undefined;
  return {
    kind: ref.kind,
    namespace: object.metadata.namespace ?? "kube-system",
    name: ref.name,
    nodeSelector: object.spec?.template?.spec?.nodeSelector ?? null,
    replicas: ref.kind === "Deployment" ? (object.spec?.replicas ?? 1) : null,
  };
}

/** Stops its pods on all nodes and waits until they are gone; the object stays. */
export async function stopWorkload(
  kube: KubeClient,
  stopped: StoppedWorkload,
  signal: AbortSignal,
): Promise<void> {
  const path = pathOf(stopped);
  const spec =
    stopped.kind === "Deployment" ? { replicas: 0 } : { template: { spec: { nodeSelector: nowhere } } };
  await kube.patch(path, "merge", { spec });
  const object = await kube.get(path);
  await waitFor(
    `the pods of ${stopped.namespace}/${stopped.name} to end`,
    async () => (await podsOf(kube, object)).length === 0,
    {
      timeoutMs: 180_000,
      intervalMs: 500,
      signal,
      remedy: `See kubectl -n ${stopped.namespace} describe pods. A controller may put ${stopped.name} back: stop that one first.`,
    },
  );
}

/** Throws unless it is stopped. */
export async function requireStopped(kube: KubeClient, stopped: StoppedWorkload): Promise<void> {
  const object = await kube.find(pathOf(stopped));
  if (object === undefined || (await podsOf(kube, object)).length === 0) return;
  throw new ShuntError(`${stopped.kind} ${stopped.namespace}/${stopped.name} runs again`, {
    remedy: "Something reconciles it: an operator, an add-on manager or GitOps. Tell that one first.",
  });
}

/** Puts it back as it was, and waits until it runs wherever it is wanted. */
export async function restoreWorkload(
  kube: KubeClient,
  stopped: StoppedWorkload,
  signal: AbortSignal,
): Promise<void> {
  const path = pathOf(stopped);
  if ((await kube.find(path)) === undefined) return;
  const { nodeSelector, replicas } = stopped;
  const back =
    stopped.kind === "Deployment"
      ? { replicas }
      : {
          template: {
            spec: { nodeSelector: nodeSelector === null ? null : { ...absent(nowhere), ...nodeSelector } },
          },
        };
  await kube.patch(path, "merge", { spec: back });
  await waitFor(
    `${stopped.kind} ${stopped.namespace}/${stopped.name} to run again`,
    async () => isRolledOut(await kube.get(path)),
    { timeoutMs: 300_000, intervalMs: 500, signal },
  );
}

const absent = (labels: object): Record<string, null> =>
  Object.fromEntries(Object.keys(labels).map((label) => [label, null]));

function isRolledOut({ kind, metadata, spec, status = {} }: KubeObject): boolean {
  if ((status.observedGeneration ?? 0) < (metadata.generation ?? 0)) return false;
  if (kind === "Deployment" || spec?.replicas !== undefined)
    return (status.readyReplicas ?? 0) >= (spec?.replicas ?? 1);
  const { desiredNumberScheduled: wanted = 0, numberReady = 0, updatedNumberScheduled = 0 } = status;
  return wanted > 0 && numberReady >= wanted && updatedNumberScheduled >= wanted;
}

async function podsOf(kube: KubeClient, object: KubeObject): Promise<KubeObject[]> {
  const labels: Record<string, string> = object.spec?.selector?.matchLabels ?? {};
  const labelSelector = Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(",");
  const pods = await kube.list(resourcePath("v1", "pods", object.metadata.namespace), { labelSelector });
  return pods.items.filter(({ metadata }) =>
    object.kind === "Deployment"
      ? true
      : metadata.ownerReferences?.some(({ uid }) => uid === object.metadata.uid),
  );
}
