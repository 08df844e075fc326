// SPDX-License-Identifier: Apache-2.0
// Creating and updating: metadata that the system keeps, the kind's own strategy, validation, the store.
import { randomUUID } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import { type Call, checkBody, decodeObject, groupVersion, present, storageOf, timestamp } from "./api.ts";
import { type Manager, trackUpdate } from "./fields/managed-fields.ts";
import type { KubeObject, PrepareContext } from "./resources/index.ts";
import { alreadyExists, invalid, modifiedConflict, notFound } from "./status.ts";

const SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789";

function generatedName(base: string): string {
  const bytes = crypto.getRandomValues(new Uint8Array(5));
  return base.slice(0, 58) + [...bytes].map((byte) => SUFFIX_LETTERS[byte % SUFFIX_LETTERS.length]).join("");
}

/** Who writes, for managedFields. */
export function managerOf(call: Call, operation: "Apply" | "Update"): Manager {
  return {
    name: call.manager,
    operation,
    apiVersion: groupVersion(call.resource),
    subresource: call.info.subresource,
  };
}

function prepare(
  call: Call,
  operation: PrepareContext["operation"],
  object: KubeObject,
  previous?: KubeObject,
): void {
  call.resource.prepare?.({
    operation,
    object,
    ...(previous === undefined ? {} : { previous }),
    user: call.user,
    store: call.api.store,
    dryRun: call.dryRun,
    warnings: call.warnings,
  });
}

/** The kind's last word before an object goes. Throws a Refusal. */
export function prepareDelete(call: Call, object: KubeObject): void {
  prepare(call, "delete", object);
}

function validate(call: Call, object: KubeObject, previous?: KubeObject): void {
  const errors = call.resource.validate?.(object, previous) ?? [];
  if (errors.length > 0) throw invalid(call.resource, object.metadata.name ?? "", errors);
}

function toStored(call: Call, object: KubeObject): KubeObject {
  return call.resource.toStorage?.(object) ?? object;
}

/** Stores a new object. `tracked` says that managedFields are right already (server-side apply). */
export function createObject(call: Call, object: KubeObject, tracked = false): KubeObject {
  checkBody(call, object);
  if (!tracked) decodeObject(call, object);
  const { resource, api } = call;
  const { metadata } = object;
  for (const field of ["resourceVersion", "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds"])
    delete metadata[field];
  if (!metadata.name && typeof metadata.generateName === "string" && metadata.generateName !== "")
    metadata.name = generatedName(metadata.generateName);
  if (!metadata.name)
    throw invalid(resource, "", [
      {
        field: "metadata.name",
        reason: "FieldValueRequired",
        message: "Required value: name or generateName is required",
      },
    ]);
  if (!resource.namespaced) delete metadata.namespace;
  metadata.uid = randomUUID();
  metadata.creationTimestamp = timestamp();
  resource.defaults?.(object);
  if (!tracked) trackUpdate(resource, undefined, object, managerOf(call, "Update"), timestamp());
  const storage = storageOf(resource);
  const exists = () => api.store.get(storage.group, storage.plural, metadata.namespace, metadata.name);
  if (exists() !== undefined && metadata.generateName === undefined)
    throw alreadyExists(resource, metadata.name);
  call.admission?.mutate(call, object, undefined);
  prepare(call, "create", object);
  validate(call, object);
  call.admission?.validate(call, object, undefined);
  if (exists() !== undefined) throw alreadyExists(resource, metadata.name);
  if (call.dryRun) return object;
  return present(resource, api.store.put(storage.group, storage.plural, toStored(call, object)));
}

/** The stored object that a request names. Throws a 404. */
export function getObject(call: Call): KubeObject {
  const { resource, info, api } = call;
  const storage = storageOf(resource);
  const stored = api.store.get(storage.group, storage.plural, info.namespace, info.name);
  if (stored === undefined) throw notFound(resource, info.name);
  return present(resource, stored);
}

const KEPT_METADATA = [
  "uid",
  "creationTimestamp",
  "deletionTimestamp",
  "deletionGracePeriodSeconds",
  "generateName",
];

function keepSystemMetadata(object: KubeObject, previous: KubeObject): void {
  for (const field of KEPT_METADATA) {
    if (previous.metadata[field] === undefined) delete object.metadata[field];
    else object.metadata[field] = previous.metadata[field];
  }
  if (previous.metadata.generation !== undefined) object.metadata.generation = previous.metadata.generation;
  delete object.metadata.selfLink;
}

function checkIdentity(call: Call, object: KubeObject, previous: KubeObject): void {
  const { name, uid, resourceVersion } = object.metadata;
  const { resource } = call;
  if (uid !== undefined && uid !== "" && uid !== previous.metadata.uid)
    throw modifiedConflict(resource, name);
  if (resourceVersion !== undefined && resourceVersion !== "") {
    if (resourceVersion !== previous.metadata.resourceVersion) throw modifiedConflict(resource, name);
  }
}

/** Whether an object marked for deletion has nothing left that holds it. */
export function isReadyToGo(object: KubeObject): boolean {
  const { deletionTimestamp, deletionGracePeriodSeconds = 0, finalizers = [] } = object.metadata;
  if (deletionTimestamp === undefined || finalizers.length > 0) return false;
  if (object.kind === "Namespace" && object.apiVersion === "v1")
    return (object.spec?.finalizers ?? []).length === 0;
  return deletionGracePeriodSeconds === 0;
}

/** What kind of update it is, and whether managedFields are right already. */
export interface UpdateOptions {
  operation?: "update" | "status";
  tracked?: boolean;
  /** The caller knows the object is decoded, as when the server itself changes it. */
  trusted?: boolean;
}

/**
 * Replaces `previous` (as presented) by `object`. An update that changes nothing writes nothing; one that
 * takes the last finalizer of a deleted object removes it.
 */
export function updateObject(
  call: Call,
  previous: KubeObject,
  object: KubeObject,
  options: UpdateOptions = {},
): KubeObject {
  const { resource, api } = call;
  const operation = options.operation ?? "update";
  checkBody(call, object);
  if (options.trusted !== true && options.tracked !== true) decodeObject(call, object);
  checkIdentity(call, object, previous);
  keepSystemMetadata(object, previous);
  if (!resource.namespaced) delete object.metadata.namespace;
  if (operation === "status") keepAllButStatus(object, previous);
  else if (resource.subresources.includes("status")) keepField(object, previous, "status");
  resource.defaults?.(object);
  if (options.tracked !== true)
    trackUpdate(resource, previous, object, managerOf(call, "Update"), timestamp());
  call.admission?.mutate(call, object, previous);
  prepare(call, operation, object, previous);
  validate(call, object, previous);
  call.admission?.validate(call, object, previous);
  object.metadata.resourceVersion = previous.metadata.resourceVersion;
  if (call.dryRun) return object;
  if (isReadyToGo(object)) return removeObject(call, object);
  if (unchanged(previous, object)) return previous;
  const storage = storageOf(resource);
  return present(resource, api.store.put(storage.group, storage.plural, toStored(call, object)));
}

/** Takes an object out of the store; returns its last form. */
export function removeObject(call: Call, object: KubeObject): KubeObject {
  const storage = storageOf(call.resource);
  const last = call.api.store.remove(storage.group, storage.plural, toStored(call, object));
  return present(call.resource, last);
}

function keepField(object: KubeObject, previous: KubeObject, field: string): void {
  if (previous[field] === undefined) delete object[field];
  else object[field] = structuredClone(previous[field]);
}

function keepAllButStatus(object: KubeObject, previous: KubeObject): void {
  const fields = new Set([...Object.keys(object), ...Object.keys(previous)]);
  for (const field of fields)
    if (!["apiVersion", "kind", "metadata", "status"].includes(field)) keepField(object, previous, field);
}

// Times in managedFields alone are no change.
function unchanged(previous: KubeObject, object: KubeObject): boolean {
  return isDeepStrictEqual(withoutTimes(previous), withoutTimes(object));
}

function withoutTimes(object: KubeObject): KubeObject {
  const plain = JSON.parse(JSON.stringify(object));
  for (const entry of plain.metadata.managedFields ?? []) delete entry.time;
  return plain;
}
