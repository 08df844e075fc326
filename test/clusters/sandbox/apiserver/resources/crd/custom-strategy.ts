// SPDX-License-Identifier: Apache-2.0
import { isDeepStrictEqual } from "node:util";
import { checkNamespaceLifecycle } from "../admission/namespace-lifecycle.ts";
import { checkResourceQuotas } from "../admission/resource-quota.ts";
import type { KubeObject, PrepareContext, Resource } from "../resource.ts";

function without(object: KubeObject, fields: string[]): KubeObject {
  return Object.fromEntries(Object.entries(object).filter(([key]) => !fields.includes(key)));
}

/** Generation and status of a custom object. */
export function prepareCustom(resource: Resource, hasStatus: boolean, ctx: PrepareContext): void {
  const { object, previous, operation } = ctx;
  checkNamespaceLifecycle(resource, ctx);
  checkResourceQuotas(resource, ctx);
  if (operation === "create") {
    if (hasStatus) delete object.status;
    object.metadata.generation = 1;
    return;
  }
  if (!previous || operation === "delete") return;
  if (operation === "status") {
    restoreAllButStatus(object, previous);
    return;
  }
  if (hasStatus) restore(object, previous, "status");
  const ignored = hasStatus ? ["metadata", "status", "apiVersion"] : ["metadata", "apiVersion"];
  const before = previous.metadata.generation ?? 1;
  const same = isDeepStrictEqual(without(object, ignored), without(previous, ignored));
  object.metadata.generation = same ? before : before + 1;
}

function restore(object: KubeObject, previous: KubeObject, field: string): void {
  if (previous[field] === undefined) delete object[field];
  else object[field] = structuredClone(previous[field]);
}

// Metadata stays too, but for the record of who owns which field and the version to compare.
function restoreAllButStatus(object: KubeObject, previous: KubeObject): void {
  const { managedFields, resourceVersion } = object.metadata;
  for (const field of Object.keys({ ...object, ...previous })) {
    if (field !== "status" && field !== "apiVersion") restore(object, previous, field);
  }
  if (managedFields) object.metadata.managedFields = managedFields;
  if (resourceVersion) object.metadata.resourceVersion = resourceVersion;
}
