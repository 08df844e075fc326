// SPDX-License-Identifier: Apache-2.0
import { type KubeClient, resourcePath } from "../lib/kube.ts";
import { waitFor } from "../lib/wait.ts";
import type { ExistingPart } from "./facts.ts";
import { daemonSet } from "./names.ts";
import type { InstallRecord } from "./record.ts";

/** A label that no node has: a DaemonSet that selects it runs nowhere. */
const nowhere = { "non-existing": "true" };

export function isDisabled(part: ExistingPart): boolean {
  return part.object.spec?.template?.spec?.nodeSelector?.["non-existing"] === "true";
}

/** What uninstall needs to put kube-proxy back as it was. */
export function rememberKubeProxy(part: ExistingPart): NonNullable<InstallRecord["kubeProxy"]> {
  const nodeSelector = part.object.spec?.template?.spec?.nodeSelector ?? null;
  return { namespace: part.namespace, daemonSet: part.daemonSet, nodeSelector };
}

/** Selects a label that no node has, and waits until its pods are gone. */
export async function disableKubeProxy(
  kube: KubeClient,
  part: ExistingPart,
  signal?: AbortSignal,
): Promise<void> {
  const path = daemonSet(part.daemonSet, part.namespace);
  await kube.patch(path, "strategic", { spec: { template: { spec: { nodeSelector: nowhere } } } });
  const selector = part.object.spec?.selector?.matchLabels ?? {};
  const labelSelector = Object.entries(selector)
    .map(([key, value]) => `${key}=${value}`)
    .join(",");
  await waitFor(
    "kube-proxy's pods to end",
    async () =>
      (await kube.list(resourcePath("v1", "pods", part.namespace), { labelSelector })).items.length === 0,
    {
      timeoutMs: 120_000,
      intervalMs: 500,
      remedy: "See kubectl -n kube-system get pods -l k8s-app=kube-proxy.",
      ...(signal ? { signal } : {}),
    },
  );
}

/** Puts the remembered nodeSelector back and waits until kube-proxy runs again on every node it selects. */
export async function restoreKubeProxy(
  kube: KubeClient,
  remembered: NonNullable<InstallRecord["kubeProxy"]>,
  signal?: AbortSignal,
): Promise<string> {
  const path = daemonSet(remembered.daemonSet, remembered.namespace);
  const current = await kube.find(path);
  if (current === undefined) return `${remembered.daemonSet} no longer exists; nothing to restore`;
  const before = remembered.nodeSelector;
  const nodeSelector = before === null ? null : { "non-existing": null, ...before };
  await kube.patch(path, "merge", { spec: { template: { spec: { nodeSelector } } } });
  await waitFor(
    "kube-proxy to run again",
    async () => {
      const { status, metadata } = await kube.get(path);
      if ((status?.observedGeneration ?? 0) < (metadata.generation ?? 0)) return false;
      return status.desiredNumberScheduled === 0 && before === null
        ? false
        : (status.numberReady ?? 0) >= status.desiredNumberScheduled &&
            status.updatedNumberScheduled >= status.desiredNumberScheduled;
    },
    {
      timeoutMs: 180_000,
      intervalMs: 500,
      remedy: "See kubectl -n kube-system describe ds kube-proxy.",
      ...(signal ? { signal } : {}),
    },
  );
  return "kube-proxy runs again";
}
