// SPDX-License-Identifier: Apache-2.0
import { UsageError } from "../../lib/errors.ts";
import { type KubeClient, resourcePath } from "../../lib/kube.ts";
import { waitFor } from "../../lib/wait.ts";
import { managedBy, namespaceManifest, type PodSecurity } from "./manifests.ts";

const path = (name: string): string => resourcePath("v1", "namespaces", undefined, name);

/** Makes a namespace of the test, or takes over its own of an earlier run; refuses anybody else's. */
export async function ensureNamespace(
  kube: KubeClient,
  name: string,
  level: PodSecurity,
  options: { fresh: boolean; signal: AbortSignal },
): Promise<void> {
  const found = await kube.find(path(name));
  if (found !== undefined) {
    if (!isOurs(found.metadata.labels))
      throw new UsageError(
        `Namespace ${name} exists and is not the connectivity test's`,
        "Choose another with --namespace, or delete it.",
      );
    const leaving = found.metadata.deletionTimestamp !== undefined;
    if (options.fresh || leaving) await deleteNamespace(kube, name, options.signal);
  }
  await kube.apply(path(name), namespaceManifest(name, level));
}

/** Deletes a namespace of the test and waits until it is gone. */
export async function deleteNamespace(kube: KubeClient, name: string, signal: AbortSignal): Promise<void> {
  const found = await kube.find(path(name));
  if (found === undefined || !isOurs(found.metadata.labels)) return;
  await kube.deleteIfExists(path(name));
  await waitFor(`namespace ${name} to be gone`, async () => (await kube.find(path(name))) === undefined, {
    timeoutMs: 60_000,
    intervalMs: 250,
    signal,
    remedy: `See what holds it: kubectl get namespace ${name} -o yaml`,
  });
}

function isOurs(labels: Record<string, string> | undefined): boolean {
  return Object.entries(managedBy).every(([key, value]) => labels?.[key] === value);
}
