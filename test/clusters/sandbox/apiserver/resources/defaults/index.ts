// SPDX-License-Identifier: Apache-2.0
import type { BuiltinKind } from "../builtin-table.ts";
import type { KubeObject } from "../resource.ts";
import {
  defaultEndpointSlice,
  defaultEndpoints,
  defaultIngressClass,
  defaultNetworkPolicy,
  defaultService,
} from "./network.ts";
import {
  defaultClaim,
  defaultCrd,
  defaultCsr,
  defaultLimitRange,
  defaultNamespace,
  defaultNode,
  defaultPriorityClass,
  defaultRoleBinding,
  defaultSecret,
  defaultStorageClass,
  defaultVolume,
  defaultWebhooks,
} from "./others.ts";
import { defaultPod, defaultPodSpec } from "./pod.ts";
import {
  defaultAutoscaler,
  defaultCronJob,
  defaultDaemonSet,
  defaultDeployment,
  defaultJob,
  defaultReplicaSet,
  defaultReplicationController,
  defaultStatefulSet,
} from "./workloads.ts";

const BY_KIND: Record<string, (object: KubeObject) => void> = {
  "/Pod": defaultPod,
  "/PodTemplate": (object) => defaultPodSpec(object.template?.spec),
  "/Service": defaultService,
  "/Endpoints": defaultEndpoints,
  "/Namespace": defaultNamespace,
  "/Node": defaultNode,
  "/Secret": defaultSecret,
  "/PersistentVolume": defaultVolume,
  "/PersistentVolumeClaim": defaultClaim,
  "/ReplicationController": defaultReplicationController,
  "/LimitRange": defaultLimitRange,
  "apps/Deployment": defaultDeployment,
  "apps/ReplicaSet": defaultReplicaSet,
  "apps/StatefulSet": defaultStatefulSet,
  "apps/DaemonSet": defaultDaemonSet,
  "batch/Job": defaultJob,
  "batch/CronJob": defaultCronJob,
  "autoscaling/HorizontalPodAutoscaler": defaultAutoscaler,
  "discovery.k8s.io/EndpointSlice": defaultEndpointSlice,
  "networking.k8s.io/NetworkPolicy": defaultNetworkPolicy,
  "networking.k8s.io/IngressClass": defaultIngressClass,
  "scheduling.k8s.io/PriorityClass": defaultPriorityClass,
  "storage.k8s.io/StorageClass": defaultStorageClass,
  "rbac.authorization.k8s.io/RoleBinding": defaultRoleBinding,
  "rbac.authorization.k8s.io/ClusterRoleBinding": defaultRoleBinding,
  "certificates.k8s.io/CertificateSigningRequest": defaultCsr,
  "apiextensions.k8s.io/CustomResourceDefinition": defaultCrd,
  "admissionregistration.k8s.io/MutatingWebhookConfiguration": defaultWebhooks,
  "admissionregistration.k8s.io/ValidatingWebhookConfiguration": defaultWebhooks,
};

/** Fills in what the API server fills in when it reads an object of this kind. */
export function applyDefaults(row: BuiltinKind, object: KubeObject): void {
  BY_KIND[`${row.group}/${row.kind}`]?.(object);
}
