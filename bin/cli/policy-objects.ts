// SPDX-License-Identifier: Apache-2.0
import { type KubeClient, resourcePath } from "../../lib/kube.ts";
import { isNotFound } from "../../lib/kube-errors.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import { policyResources } from "../../lib/policy-schema.ts";

/** A kind of objects, and where they are. */
interface ListedKind {
  apiVersion: string;
  plural: string;
  kind: string;
}

/** All objects of a kind; none where the cluster does not know it, as one without Cilium's. */
export async function listKind(
  kube: KubeClient,
  { apiVersion, plural, kind }: ListedKind,
  signal: AbortSignal,
): Promise<KubeObject[]> {
  try {
    const { items } = await kube.list(resourcePath(apiVersion, plural), {}, { signal });
    return items.map((item) => ({ ...item, apiVersion, kind }));
  } catch (error) {
    if (isNotFound(error)) return [];
    throw error;
  }
}

/** All policies of a cluster, of every kind. */
export async function listPolicyObjects(kube: KubeClient, signal: AbortSignal): Promise<KubeObject[]> {
  const lists = Object.entries(policyResources).map(([kind, where]) =>
    listKind(kube, { kind, ...where }, signal),
  );
  return (await Promise.all(lists)).flat();
}
