// SPDX-License-Identifier: Apache-2.0
import { type KubeClient, resourcePath } from "../../../lib/kube.ts";
import type { KubeObject } from "../../../lib/kube-object.ts";
import { managedBy } from "../manifests.ts";

export type PolicyKind = "NetworkPolicy" | "CiliumNetworkPolicy" | "CiliumClusterwideNetworkPolicy";

const kinds: Record<PolicyKind, { apiVersion: string; plural: string }> = {
  NetworkPolicy: { apiVersion: "networking.k8s.io/v1", plural: "networkpolicies" },
  CiliumNetworkPolicy: { apiVersion: "cilium.io/v2", plural: "ciliumnetworkpolicies" },
  CiliumClusterwideNetworkPolicy: { apiVersion: "cilium.io/v2", plural: "ciliumclusterwidenetworkpolicies" },
};

/** Specs of policies, by the kind of object that they are for. */
export type PolicySpecs = Partial<Record<PolicyKind, readonly object[]>>;

/** The objects of a scenario. Names of those without a namespace tell the namespace that they are about. */
export function policyObjects(scenario: string, namespace: string, specs: PolicySpecs): KubeObject[] {
  return (Object.keys(specs) as PolicyKind[]).flatMap((kind) =>
    specs[kind]!.map((spec, index) => {
      const isClusterwide = kind === "CiliumClusterwideNetworkPolicy";
      const name = `${isClusterwide ? `${namespace}-` : ""}${scenario}-${index}`;
      const metadata = { name, ...(isClusterwide ? {} : { namespace }), labels: managedBy };
      return { apiVersion: kinds[kind].apiVersion, kind, metadata, spec };
    }),
  );
}

/** Where the API server has an object. */
export function policyPath({ kind, metadata }: KubeObject): string {
  const { apiVersion, plural } = kinds[kind as PolicyKind];
  return resourcePath(apiVersion, plural, metadata.namespace, metadata.name);
}

/** Removes what a run that was killed has left. */
export async function removePolicies(kube: KubeClient, namespace: string): Promise<void> {
  const labelSelector = Object.entries(managedBy).map(([key, value]) => `${key}=${value}`);
  const query = { labelSelector: labelSelector.join(",") };
  for (const [kind, { apiVersion, plural }] of Object.entries(kinds)) {
    const isClusterwide = kind === "CiliumClusterwideNetworkPolicy";
    const path = resourcePath(apiVersion, plural, isClusterwide ? undefined : namespace);
    const list = await kube.find<{ items: KubeObject[] }>(path, { query });
    for (const { metadata } of list?.items ?? [])
      if (!isClusterwide || metadata.name!.startsWith(`${namespace}-`))
        await kube.deleteIfExists(`${path}/${metadata.name}`);
  }
}
