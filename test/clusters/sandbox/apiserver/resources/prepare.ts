// SPDX-License-Identifier: Apache-2.0
// What happens between decoding and validating a built-in object: the registry's strategy (generation,
// status, allocation), then the admission plugins that change or refuse objects.

import { applyLimitRanges } from "./admission/limit-ranger.ts";
import { checkNamespaceLifecycle } from "./admission/namespace-lifecycle.ts";
import { restrictNode } from "./admission/node-restriction.ts";
import { admitPodSecurity } from "./admission/pod-security.ts";
import { admitPriority } from "./admission/priority.ts";
import { checkResourceQuotas } from "./admission/resource-quota.ts";
import { admitServiceAccount } from "./admission/service-account.ts";
import { localStatus } from "./api-services.ts";
import type { BuiltinKind } from "./builtin-table.ts";
import type { ClusterOptions } from "./cluster-options.ts";
import { prepareCrd } from "./crd/crd-strategy.ts";
import { checkEscalation } from "./rbac/escalation.ts";
import type { KubeObject, PrepareContext } from "./resource.ts";
import { setGeneration } from "./strategy/generation.ts";
import { resetStatus } from "./strategy/initial-status.ts";
import { qosClass } from "./strategy/pod-qos.ts";
import { allocateService } from "./strategy/service-allocation.ts";

/** Prepares a built-in object for the store, in place; throws a Refusal to refuse it. */
export function prepareBuiltin(row: BuiltinKind, ctx: PrepareContext, options: ClusterOptions): void {
  checkNamespaceLifecycle(row, ctx);
  restrictNode(row, ctx);
  if (ctx.operation === "delete") return;
  if (ctx.operation === "status") prepareStatus(row, ctx);
  if (ctx.operation === "create") prepareCreate(row, ctx);
  if (ctx.operation === "update") prepareUpdate(row, ctx);
  if (ctx.operation === "status") return;
  ADMISSION[`${row.group}/${row.kind}`]?.(ctx, options);
  if (row.group === "rbac.authorization.k8s.io") checkEscalation(row, ctx);
  admitPodSecurity(row, ctx);
  checkResourceQuotas(row, ctx);
}

function prepareCreate(row: BuiltinKind, { object, user }: PrepareContext): void {
  resetStatus(row, object);
  setGeneration(row, object);
  if (row.kind === "Namespace" && row.group === "") object.spec = { finalizers: ["kubernetes"] };
  if (row.kind === "CertificateSigningRequest") {
    object.spec = {
      ...object.spec,
      username: user.username,
      uid: user.uid,
      groups: user.groups,
      extra: user.extra,
    };
    for (const field of ["uid", "extra"]) if (object.spec[field] === undefined) delete object.spec[field];
  }
  if (row.kind === "Job" && row.group === "batch") labelJob(object);
  if (row.kind === "Node" && row.group === "") taintNode(object);
  if (row.kind === "APIService" && !object.spec?.service) object.status = localStatus();
}

// A node takes no pods until the node controller has seen that it is ready.
function taintNode(node: KubeObject): void {
  const key = "node.kubernetes.io/not-ready";
  const taints: KubeObject[] = node.spec?.taints ?? [];
  if (taints.some((taint) => taint.key === key && taint.effect === "NoSchedule")) return;
  node.spec = { ...node.spec, taints: [...taints, { key, effect: "NoSchedule" }] };
}

function prepareUpdate(row: BuiltinKind, { object, previous }: PrepareContext): void {
  if (!previous) return;
  if (row.subresources.includes("status")) restore(object, previous, "status");
  if (row.kind === "Namespace" && row.group === "") restore(object, previous, "spec");
  if (row.kind === "CertificateSigningRequest") restore(object, previous, "spec");
  setGeneration(row, object, previous);
}

// A status update changes the status, and of the metadata what the real strategies let through.
function prepareStatus(row: BuiltinKind, { object, previous }: PrepareContext): void {
  if (!previous) return;
  for (const field of Object.keys({ ...object, ...previous })) {
    if (!["apiVersion", "kind", "metadata", "status"].includes(field)) restore(object, previous, field);
  }
  object.metadata.generation = previous.metadata.generation;
  object.metadata.ownerReferences = previous.metadata.ownerReferences;
  for (const field of ["generation", "ownerReferences"]) {
    if (object.metadata[field] === undefined) delete object.metadata[field];
  }
  if (row.kind === "Pod" && object.status) object.status.qosClass ??= previous.status?.qosClass;
}

function restore(object: KubeObject, previous: KubeObject, field: string): void {
  if (previous[field] === undefined) delete object[field];
  else object[field] = structuredClone(previous[field]);
}

type Admission = (ctx: PrepareContext, options: ClusterOptions) => void;

const ADMISSION: Record<string, Admission> = {
  "/Pod": admitPod,
  "/Service": (ctx, options) => ctx.object.spec && allocateService(ctx, options),
  "apiextensions.k8s.io/CustomResourceDefinition": prepareCrd,
};

const EVICTION_TOLERATION_SECONDS = 300;

function admitPod(ctx: PrepareContext): void {
  const { object: pod, operation } = ctx;
  if (!pod.spec || operation !== "create") return;
  applyLimitRanges(ctx);
  admitServiceAccount(ctx);
  for (const key of ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"]) tolerateFor(pod, key);
  admitPriority(ctx);
  pod.status = { phase: "Pending", ...pod.status, qosClass: qosClass(pod.spec) };
}

function tolerateFor(pod: KubeObject, key: string): void {
  pod.spec.tolerations ??= [];
  const covered = pod.spec.tolerations.some(
    (toleration: KubeObject) =>
      (toleration.key === key || !toleration.key) &&
      (!toleration.effect || toleration.effect === "NoExecute"),
  );
  if (covered) return;
  pod.spec.tolerations.push({
    key,
    operator: "Exists",
    effect: "NoExecute",
    tolerationSeconds: EVICTION_TOLERATION_SECONDS,
  });
}

// The server names a job's pods after the job's uid, unless the author selects them.
function labelJob(job: KubeObject): void {
  const { spec, metadata } = job;
  if (!spec?.template || spec.manualSelector || !metadata.uid) return;
  const labels = {
    "batch.kubernetes.io/controller-uid": metadata.uid,
    "batch.kubernetes.io/job-name": metadata.name,
    "controller-uid": metadata.uid,
    "job-name": metadata.name,
  };
  spec.template.metadata ??= {};
  spec.template.metadata.labels = { ...spec.template.metadata.labels, ...labels };
  spec.selector ??= { matchLabels: { "batch.kubernetes.io/controller-uid": metadata.uid } };
}
