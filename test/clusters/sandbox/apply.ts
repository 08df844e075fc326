// SPDX-License-Identifier: Apache-2.0
import type { KubeClient } from "../../../lib/kube.ts";
import type { KubeObject } from "../../../lib/kube-object.ts";

const collections: Record<string, string> = {
  Namespace: "/api/v1/namespaces",
  ServiceAccount: "/api/v1/namespaces/NS/serviceaccounts",
  ConfigMap: "/api/v1/namespaces/NS/configmaps",
  Service: "/api/v1/namespaces/NS/services",
  ClusterRole: "/apis/rbac.authorization.k8s.io/v1/clusterroles",
  ClusterRoleBinding: "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
  CustomResourceDefinition: "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
  NetworkPolicy: "/apis/networking.k8s.io/v1/namespaces/NS/networkpolicies",
  PodDisruptionBudget: "/apis/policy/v1/namespaces/NS/poddisruptionbudgets",
  Deployment: "/apis/apps/v1/namespaces/NS/deployments",
  DaemonSet: "/apis/apps/v1/namespaces/NS/daemonsets",
};

/** Applies an object of one of the kinds that clusters start with. */
export async function applyObject(kube: KubeClient, object: KubeObject): Promise<void> {
  const collection = collectionOf(object).replace("NS", object.metadata.namespace ?? "");
  await kube.apply(`${collection}/${object.metadata.name}`, object, "sandbox");
}

function collectionOf({ apiVersion, kind }: KubeObject): string {
  return collections[kind!] ?? `/apis/${apiVersion}/${kind!.toLowerCase()}s`;
}
