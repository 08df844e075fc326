// SPDX-License-Identifier: Apache-2.0
import { resourcePath } from "../../../../lib/kube.ts";

/** A resource that the controllers know by name. */
export interface KnownResource {
  apiVersion: string;
  kind: string;
  plural: string;
}

const known = (apiVersion: string, kind: string, plural: string): KnownResource => ({
  apiVersion,
  kind,
  plural,
});

/** The built-in resources that the controllers read and write. */
export const resources = {
  clusterRoles: known("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles"),
  configMaps: known("v1", "ConfigMap", "configmaps"),
  controllerRevisions: known("apps/v1", "ControllerRevision", "controllerrevisions"),
  cronJobs: known("batch/v1", "CronJob", "cronjobs"),
  daemonSets: known("apps/v1", "DaemonSet", "daemonsets"),
  deployments: known("apps/v1", "Deployment", "deployments"),
  endpoints: known("v1", "Endpoints", "endpoints"),
  endpointSlices: known("discovery.k8s.io/v1", "EndpointSlice", "endpointslices"),
  jobs: known("batch/v1", "Job", "jobs"),
  leases: known("coordination.k8s.io/v1", "Lease", "leases"),
  namespaces: known("v1", "Namespace", "namespaces"),
  nodes: known("v1", "Node", "nodes"),
  podDisruptionBudgets: known("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets"),
  pods: known("v1", "Pod", "pods"),
  replicaSets: known("apps/v1", "ReplicaSet", "replicasets"),
  secrets: known("v1", "Secret", "secrets"),
  serviceAccounts: known("v1", "ServiceAccount", "serviceaccounts"),
  services: known("v1", "Service", "services"),
  statefulSets: known("apps/v1", "StatefulSet", "statefulsets"),
} satisfies Record<string, KnownResource>;

/** The path of all objects, of a namespace's, or of one object of a known resource. */
export function pathOf(resource: KnownResource, namespace?: string, name?: string): string {
  return resourcePath(resource.apiVersion, resource.plural, namespace, name);
}
