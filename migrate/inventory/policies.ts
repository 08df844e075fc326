// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../../lib/kube-object.ts";
import { policyResources } from "../../lib/policy-schema.ts";
import type { PolicyDetails } from "./details.ts";
import type { ClusterSource } from "./source.ts";

/** Kinds of policy that the common networks have, by where they are served. */
const kinds: { path: string; kind: string }[] = [
  { path: "/apis/networking.k8s.io/v1/networkpolicies", kind: "NetworkPolicy.networking.k8s.io" },
  { path: "/apis/crd.projectcalico.org/v1/networkpolicies", kind: "NetworkPolicy.crd.projectcalico.org" },
  {
    path: "/apis/crd.projectcalico.org/v1/globalnetworkpolicies",
    kind: "GlobalNetworkPolicy.crd.projectcalico.org",
  },
  { path: "/apis/crd.projectcalico.org/v1/hostendpoints", kind: "HostEndpoint.crd.projectcalico.org" },
  { path: "/apis/cilium.io/v2/ciliumnetworkpolicies", kind: "CiliumNetworkPolicy.cilium.io" },
  {
    path: "/apis/cilium.io/v2/ciliumclusterwidenetworkpolicies",
    kind: "CiliumClusterwideNetworkPolicy.cilium.io",
  },
  {
    path: "/apis/policy.networking.k8s.io/v1alpha1/adminnetworkpolicies",
    kind: "AdminNetworkPolicy.policy.networking.k8s.io",
  },
  {
    path: "/apis/policy.networking.k8s.io/v1alpha1/baselineadminnetworkpolicies",
    kind: "BaselineAdminNetworkPolicy.policy.networking.k8s.io",
  },
  {
    path: "/apis/policy.networking.k8s.io/v1alpha2/clusternetworkpolicies",
    kind: "ClusterNetworkPolicy.policy.networking.k8s.io",
  },
  { path: "/apis/crd.antrea.io/v1beta1/networkpolicies", kind: "NetworkPolicy.crd.antrea.io" },
  { path: "/apis/crd.antrea.io/v1beta1/clusternetworkpolicies", kind: "ClusterNetworkPolicy.crd.antrea.io" },
  {
    path: "/apis/networking.gke.io/v1alpha1/fqdnnetworkpolicies",
    kind: "FQDNNetworkPolicy.networking.gke.io",
  },
];

/** Kinds that the agent reads, as they are counted. */
export const usablePolicies: ReadonlySet<string> = new Set(
  Object.entries(policyResources).map(([kind, { apiVersion }]) => `${kind}.${apiVersion.split("/")[0]}`),
);

export const standardPolicy = "NetworkPolicy.networking.k8s.io";

/** What Calico makes by itself from the standard ones (`knp.default.…`) is no policy of anybody's. */
const isOfOthers = ({ metadata }: KubeObject): boolean => !/^knp\.default\.|^kns\./.test(metadata.name ?? "");

const layer7 = /"(http|toFQDNs|kafka|dns|l7proto|domains|domainNames)":/;

/** Counts policies of every kind; kinds that the cluster does not have cost one request each. */
export async function readPolicies(source: ClusterSource): Promise<PolicyDetails> {
  const namespaces = new Set<string>();
  const details: PolicyDetails = { kinds: {}, namespaces: 0, namespacesWithPolicy: 0, layer7: 0 };
  const visit = (kind: string) => (policy: KubeObject) => {
    if (!isOfOthers(policy)) return;
    details.kinds[kind] = (details.kinds[kind] ?? 0) + 1;
    if (policy.metadata.namespace !== undefined) namespaces.add(policy.metadata.namespace);
    if (kind !== standardPolicy && layer7.test(JSON.stringify(policy.spec ?? policy.specs ?? {})))
      details.layer7 += 1;
  };
  await Promise.all(kinds.map(({ path, kind }) => source.each(path, visit(kind))));
  details.namespaces = await source.each("/api/v1/namespaces", () => undefined);
  details.namespacesWithPolicy = namespaces.size;
  return details;
}
