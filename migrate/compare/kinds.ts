// SPDX-License-Identifier: Apache-2.0
import { resourcePath } from "../../lib/kube.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import type { ClusterSource } from "../inventory/source.ts";

/** A kind of object that both clusters should have the same of. */
export interface ComparedKind {
  kind: string;
  apiVersion: string;
  plural: string;
}

const of = (apiVersion: string, kinds: [kind: string, plural: string][]): ComparedKind[] =>
  kinds.map(([kind, plural]) => ({ kind, apiVersion, plural }));

/** Built-in kinds in the order in which one would make them in a new cluster. */
export const builtInKinds: ComparedKind[] = [
  ...of("v1", [["Namespace", "namespaces"]]),
  ...of("apiextensions.k8s.io/v1", [["CustomResourceDefinition", "customresourcedefinitions"]]),
  ...of("scheduling.k8s.io/v1", [["PriorityClass", "priorityclasses"]]),
  ...of("storage.k8s.io/v1", [["StorageClass", "storageclasses"]]),
  ...of("networking.k8s.io/v1", [["IngressClass", "ingressclasses"]]),
  ...of("rbac.authorization.k8s.io/v1", [
    ["ClusterRole", "clusterroles"],
    ["ClusterRoleBinding", "clusterrolebindings"],
    ["Role", "roles"],
    ["RoleBinding", "rolebindings"],
  ]),
  ...of("v1", [
    ["ServiceAccount", "serviceaccounts"],
    ["ConfigMap", "configmaps"],
    ["Secret", "secrets"],
    ["PersistentVolumeClaim", "persistentvolumeclaims"],
    ["ResourceQuota", "resourcequotas"],
    ["LimitRange", "limitranges"],
    ["Service", "services"],
    ["Pod", "pods"],
  ]),
  ...of("apps/v1", [
    ["Deployment", "deployments"],
    ["StatefulSet", "statefulsets"],
    ["DaemonSet", "daemonsets"],
  ]),
  ...of("batch/v1", [
    ["CronJob", "cronjobs"],
    ["Job", "jobs"],
  ]),
  ...of("policy/v1", [["PodDisruptionBudget", "poddisruptionbudgets"]]),
  ...of("autoscaling/v2", [["HorizontalPodAutoscaler", "horizontalpodautoscalers"]]),
  ...of("networking.k8s.io/v1", [
    ["NetworkPolicy", "networkpolicies"],
    ["Ingress", "ingresses"],
  ]),
  ...of("admissionregistration.k8s.io/v1", [
    ["ValidatingWebhookConfiguration", "validatingwebhookconfigurations"],
    ["MutatingWebhookConfiguration", "mutatingwebhookconfigurations"],
  ]),
];

/** Groups whose objects describe a cluster's own network, nodes or run-time state. */
const ownGroups =
  /(^|\.)(projectcalico\.org|tigera\.io|cilium\.io|shunt\.dev|antrea\.io|kubeovn\.io|k8s\.ovn\.org|karpenter\.sh|karpenter\.k8s\.aws|cluster\.x-k8s\.io|metrics\.k8s\.io)$/;

export const isOwnGroup = (group: string): boolean => ownGroups.test(group);

/** The kinds that the definitions of a cluster add, but for those that are the cluster's own. */
export async function customKinds(source: ClusterSource): Promise<ComparedKind[]> {
  const found: ComparedKind[] = [];
  await source.each(
    resourcePath("apiextensions.k8s.io/v1", "customresourcedefinitions"),
    ({ spec }: KubeObject) => {
      const version = spec?.versions?.find((entry: any) => entry.storage === true)?.name;
      if (version === undefined || isOwnGroup(spec.group)) return;
      found.push({
        kind: spec.names?.kind,
        apiVersion: `${spec.group}/${version}`,
        plural: spec.names?.plural,
      });
    },
  );
  return found;
}
