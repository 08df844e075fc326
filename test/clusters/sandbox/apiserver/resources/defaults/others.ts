// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../resource.ts";
import { setDefaults, setNonEmpty } from "./object.ts";

/** Namespace: the label every namespace carries. */
export function defaultNamespace(object: KubeObject): void {
  if (!object.metadata?.name) return;
  object.metadata.labels ??= {};
  setDefaults(object.metadata.labels, { "kubernetes.io/metadata.name": object.metadata.name });
}

/** Node: the two fields of pod addresses agree, and all of its capacity is there to give unless it says else. */
export function defaultNode(object: KubeObject): void {
  const { spec, status } = object;
  if (spec?.podCIDR && !spec.podCIDRs?.length) spec.podCIDRs = [spec.podCIDR];
  if (spec?.podCIDRs?.length) spec.podCIDR = spec.podCIDRs[0];
  if (status?.capacity) setDefaults(status, { allocatable: status.capacity });
}

/** Secret: `stringData` is a way to write `data`. */
export function defaultSecret(object: KubeObject): void {
  setNonEmpty(object, { type: "Opaque" });
  if (object.stringData) {
    object.data ??= {};
    for (const [key, value] of Object.entries(object.stringData)) {
      object.data[key] = Buffer.from(String(value)).toString("base64");
    }
    delete object.stringData;
  }
}

/** PersistentVolume. */
export function defaultVolume(object: KubeObject): void {
  setNonEmpty(object.spec, { persistentVolumeReclaimPolicy: "Retain" });
  setDefaults(object.spec, { volumeMode: "Filesystem" });
  setDefaults(object.spec?.hostPath, { type: "" });
  setDefaults(object, { status: {} });
  setNonEmpty(object.status, { phase: "Pending" });
}

/** PersistentVolumeClaim. */
export function defaultClaim(object: KubeObject): void {
  setDefaults(object.spec, { volumeMode: "Filesystem" });
  setDefaults(object, { status: {} });
  setNonEmpty(object.status, { phase: "Pending" });
}

/** LimitRange: a container's default request is its default limit, which is its maximum. */
export function defaultLimitRange(object: KubeObject): void {
  for (const item of object.spec?.limits ?? []) {
    if (item?.type !== "Container") continue;
    const limits = { ...item.max, ...item.default };
    const requests = { ...item.min, ...limits, ...item.defaultRequest };
    if (Object.keys(limits).length) item.default = limits;
    if (Object.keys(requests).length) item.defaultRequest = requests;
  }
}

/** PriorityClass. */
export function defaultPriorityClass(object: KubeObject): void {
  setDefaults(object, { preemptionPolicy: "PreemptLowerPriority", value: 0 });
}

/** StorageClass. */
export function defaultStorageClass(object: KubeObject): void {
  setDefaults(object, { reclaimPolicy: "Delete", volumeBindingMode: "Immediate" });
}

const RBAC = "rbac.authorization.k8s.io";

/** RoleBinding and ClusterRoleBinding. */
export function defaultRoleBinding(object: KubeObject): void {
  setNonEmpty(object.roleRef, { apiGroup: RBAC });
  for (const subject of object.subjects ?? []) {
    if (subject?.kind === "User" || subject?.kind === "Group") setNonEmpty(subject, { apiGroup: RBAC });
  }
}

/** CertificateSigningRequest. */
export function defaultCsr(object: KubeObject): void {
  setDefaults(object.spec, { usages: ["digital signature", "key encipherment"] });
}

/** CustomResourceDefinition: names, scope, conversion and the printed columns' defaults. */
export function defaultCrd(object: KubeObject): void {
  const spec = object.spec;
  if (!spec?.names) return;
  if (spec.names.kind) {
    setNonEmpty(spec.names, {
      listKind: `${spec.names.kind}List`,
      singular: String(spec.names.kind).toLowerCase(),
    });
  }
  setDefaults(spec, { conversion: { strategy: "None" } });
  for (const version of spec.versions ?? []) {
    if (!Array.isArray(version?.additionalPrinterColumns)) continue;
    for (const column of version.additionalPrinterColumns) if (column?.priority === 0) delete column.priority;
  }
}

/** Webhook configurations. */
export function defaultWebhooks(object: KubeObject): void {
  for (const webhook of object.webhooks ?? []) {
    setDefaults(webhook, {
      failurePolicy: "Fail",
      matchPolicy: "Equivalent",
      namespaceSelector: {},
      objectSelector: {},
      timeoutSeconds: 10,
    });
    if (object.kind === "MutatingWebhookConfiguration") setDefaults(webhook, { reinvocationPolicy: "Never" });
    setDefaults(webhook.clientConfig?.service, { port: 443 });
    for (const rule of webhook.rules ?? []) setDefaults(rule, { scope: "*" });
  }
}
