// SPDX-License-Identifier: Apache-2.0
// Deleting: preconditions, grace periods, finalizers and what happens to dependents.
import { type Call, present, storageOf, timestamp } from "./api.ts";
import type { KubeObject } from "./resources/index.ts";
import { badRequest, conflict, invalid, successStatus } from "./status.ts";
import { prepareDelete, removeObject } from "./write.ts";

/** DeleteOptions, from the body or the query. */
export interface DeleteOptions {
  gracePeriodSeconds?: number;
  propagationPolicy?: string;
  orphanDependents?: boolean;
  preconditions?: { uid?: string; resourceVersion?: string };
}

const POLICIES = ["Orphan", "Background", "Foreground"];

/** Reads DeleteOptions; the body wins over the query, as in the real server. Throws a 400 or 422. */
export function deleteOptions(call: Call, body: KubeObject | undefined): DeleteOptions {
  const { query } = call.info;
  const grace = query.get("gracePeriodSeconds");
  const options: DeleteOptions =
    body !== undefined && body !== null && typeof body === "object" && Object.keys(body).length > 0
      ? { ...body }
      : {
          ...(grace === null ? {} : { gracePeriodSeconds: Number(grace) }),
          ...(query.has("propagationPolicy") ? { propagationPolicy: query.get("propagationPolicy")! } : {}),
        };
  if (Array.isArray((body as any)?.dryRun) && (body as any).dryRun.includes("All")) call.dryRun = true;
  const { gracePeriodSeconds, propagationPolicy } = options;
  if (
    gracePeriodSeconds !== undefined &&
    gracePeriodSeconds !== null &&
    !Number.isInteger(gracePeriodSeconds)
  )
    throw badRequest("gracePeriodSeconds must be an integer");
  if (propagationPolicy && !POLICIES.includes(propagationPolicy))
    throw invalid({ group: "meta.k8s.io", kind: "DeleteOptions" }, "", [
      {
        field: "propagationPolicy",
        reason: "FieldValueNotSupported",
        message: `Unsupported value: "${propagationPolicy}": supported values: "Foreground", "Background", "Orphan", "nil"`,
      },
    ]);
  return options;
}

function checkPreconditions(call: Call, object: KubeObject, options: DeleteOptions): void {
  const { uid, resourceVersion } = options.preconditions ?? {};
  const { metadata } = object;
  if (uid !== undefined && uid !== null && uid !== metadata.uid)
    throw conflict(
      call.resource,
      metadata.name,
      `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${metadata.uid}`,
    );
  if (
    resourceVersion !== undefined &&
    resourceVersion !== null &&
    resourceVersion !== metadata.resourceVersion
  )
    throw conflict(
      call.resource,
      metadata.name,
      `Precondition failed: ResourceVersion in precondition: ${resourceVersion}, ResourceVersion in object meta: ${metadata.resourceVersion}`,
    );
}

function graceSeconds(object: KubeObject, options: DeleteOptions): number {
  if (object.kind !== "Pod" || object.apiVersion !== "v1") return 0;
  const { spec, status, metadata } = object;
  if (!spec?.nodeName || ["Succeeded", "Failed"].includes(status?.phase)) return 0;
  if (options.gracePeriodSeconds === 0 && metadata.annotations?.["kubernetes.io/config.mirror"] !== undefined)
    return 0;
  const wanted = options.gracePeriodSeconds ?? spec.terminationGracePeriodSeconds ?? 30;
  return wanted < 0 ? 1 : wanted;
}

function finalizersFor(object: KubeObject, options: DeleteOptions): string[] {
  const policy =
    options.propagationPolicy ??
    (options.orphanDependents === true
      ? "Orphan"
      : options.orphanDependents === false
        ? "Background"
        : undefined);
  const finalizers: string[] = object.metadata.finalizers ?? [];
  if (policy === undefined || policy === null) return finalizers;
  const kept = finalizers.filter((name) => name !== "orphan" && name !== "foregroundDeletion");
  if (policy === "Orphan") return [...kept, "orphan"];
  if (policy === "Foreground") return [...kept, "foregroundDeletion"];
  return kept;
}

/** How a delete ended: the object is gone, or it stays until its finalizers or its grace period end. */
export interface DeleteResult {
  gone: boolean;
  object: KubeObject;
}

/** Deletes one object (as presented) or marks it for deletion. Throws a 409 or a Refusal. */
export function deleteObject(call: Call, object: KubeObject, options: DeleteOptions): DeleteResult {
  checkPreconditions(call, object, options);
  call.admission?.mutate(call, undefined, object);
  call.admission?.validate(call, undefined, object);
  prepareDelete(call, object);
  const { metadata } = object;
  const isNamespace = object.kind === "Namespace" && object.apiVersion === "v1";
  const finalizers = finalizersFor(object, options);
  const grace = graceSeconds(object, options);
  const isHeld = finalizers.length > 0 || (isNamespace && (object.spec?.finalizers ?? []).length > 0);
  const pendingGrace =
    metadata.deletionTimestamp === undefined ? undefined : (metadata.deletionGracePeriodSeconds ?? 0);
  if (!isHeld && grace === 0) {
    if (call.dryRun) return { gone: true, object };
    return {
      gone: true,
      object: removeObject(call, { ...object, metadata: { ...metadata, deletionGracePeriodSeconds: 0 } }),
    };
  }
  const shortens = pendingGrace !== undefined && grace < pendingGrace;
  const sameFinalizers = finalizers.join() === (metadata.finalizers ?? []).join();
  if (pendingGrace !== undefined && !shortens && sameFinalizers) return { gone: false, object };
  const marked: KubeObject = { ...object, metadata: { ...metadata, finalizers } };
  if (finalizers.length === 0) delete marked.metadata.finalizers;
  if (pendingGrace === undefined || shortens) {
    marked.metadata.deletionTimestamp = timestamp(Date.now() + grace * 1000);
    marked.metadata.deletionGracePeriodSeconds = grace;
    if (metadata.generation !== undefined) marked.metadata.generation = metadata.generation + 1;
  }
  if (isNamespace) marked.status = { ...object.status, phase: "Terminating" };
  if (call.dryRun) return { gone: false, object: marked };
  const { group, plural } = storageOf(call.resource);
  const stored = call.api.store.put(group, plural, call.resource.toStorage?.(marked) ?? marked);
  return { gone: false, object: present(call.resource, stored) };
}

/** What a DELETE request answers. */
export function deleteAnswer(call: Call, result: DeleteResult): KubeObject {
  const returnsObject = ["pods", "services", "serviceaccounts", "persistentvolumes"];
  if (!result.gone || returnsObject.includes(call.resource.plural)) return result.object;
  return successStatus(call.resource, result.object);
}
