// SPDX-License-Identifier: Apache-2.0
import { isDeepStrictEqual } from "node:util";
import type { BuiltinKind } from "../builtin-table.ts";
import type { KubeObject } from "../resource.ts";

const WITH_GENERATION = new Set([
  "/Pod",
  "/ReplicationController",
  "apps/Deployment",
  "apps/ReplicaSet",
  "apps/StatefulSet",
  "apps/DaemonSet",
  "batch/Job",
  "batch/CronJob",
  "policy/PodDisruptionBudget",
  "networking.k8s.io/NetworkPolicy",
  "networking.k8s.io/Ingress",
  "networking.k8s.io/IngressClass",
  "discovery.k8s.io/EndpointSlice",
  "scheduling.k8s.io/PriorityClass",
  "apiextensions.k8s.io/CustomResourceDefinition",
  "admissionregistration.k8s.io/MutatingWebhookConfiguration",
  "admissionregistration.k8s.io/ValidatingWebhookConfiguration",
  "admissionregistration.k8s.io/ValidatingAdmissionPolicy",
  "admissionregistration.k8s.io/ValidatingAdmissionPolicyBinding",
]);

function content(object: KubeObject): KubeObject {
  const { metadata: _metadata, status: _status, kind: _kind, apiVersion: _apiVersion, ...rest } = object;
  return rest;
}

/** Sets or raises metadata.generation, for the kinds that have one. */
export function setGeneration(row: BuiltinKind, object: KubeObject, previous?: KubeObject): void {
  if (!WITH_GENERATION.has(`${row.group}/${row.kind}`)) {
    delete object.metadata.generation;
    return;
  }
  if (!previous) {
    object.metadata.generation = 1;
    return;
  }
  const before = previous.metadata.generation ?? 1;
  object.metadata.generation = changed(row, object, previous) ? before + 1 : before;
}

function changed(row: BuiltinKind, object: KubeObject, previous: KubeObject): boolean {
  if (!isDeepStrictEqual(content(object), content(previous))) return true;
  if (row.kind === "Deployment") {
    return !isDeepStrictEqual(object.metadata.annotations ?? {}, previous.metadata.annotations ?? {});
  }
  if (row.kind === "EndpointSlice") {
    return !isDeepStrictEqual(object.metadata.labels ?? {}, previous.metadata.labels ?? {});
  }
  return false;
}
