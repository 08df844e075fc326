// SPDX-License-Identifier: Apache-2.0
// Who set which field: metadata.managedFields, and the conflicts of server-side apply.
import type { KubeObject, Resource } from "../resources/resource.ts";
import { StatusError } from "../status.ts";
import {
  difference,
  emptySet,
  equalSets,
  type FieldSet,
  formatFields,
  intersection,
  isEmptySet,
  parseFields,
  pathsOf,
  union,
} from "./field-set.ts";
import { compareFields, fieldsOf, type MergeKeyOf, mergeFields, removeFields } from "./typed-value.ts";

/** The one who writes. */
export interface Manager {
  name: string;
  operation: "Apply" | "Update";
  apiVersion: string;
  subresource: string;
}

interface Entry extends Manager {
  time: string;
  set: FieldSet;
}

const SYSTEM_METADATA = [
  "name",
  "namespace",
  "creationTimestamp",
  "selfLink",
  "uid",
  "generation",
  "managedFields",
  "resourceVersion",
  "deletionTimestamp",
  "deletionGracePeriodSeconds",
  "generateName",
];

// What of an object can be owned when it is written through this endpoint.
function ownable(object: KubeObject, resource: Resource, subresource: string): KubeObject {
  const { apiVersion: _apiVersion, kind: _kind, metadata = {}, ...rest } = object;
  const ownedMetadata = Object.fromEntries(
    Object.entries(metadata).filter(([key]) => !SYSTEM_METADATA.includes(key)),
  );
  if (subresource === "status") return rest.status === undefined ? {} : { status: rest.status };
  if (resource.subresources.includes("status")) delete rest.status;
  return { ...(Object.keys(ownedMetadata).length === 0 ? {} : { metadata: ownedMetadata }), ...rest };
}

function readEntries(object: KubeObject | undefined): Entry[] {
  const fields = object?.metadata?.managedFields;
  return (Array.isArray(fields) ? fields : [])
    .filter((field) => field?.fieldsV1 !== undefined && typeof field.manager === "string")
    .map((field) => ({
      name: field.manager,
      operation: field.operation === "Apply" ? "Apply" : "Update",
      apiVersion: field.apiVersion,
      subresource: field.subresource ?? "",
      time: field.time,
      set: parseFields(field.fieldsV1),
    }));
}

function writeEntries(object: KubeObject, entries: Entry[]): void {
  const kept = entries.filter((entry) => !isEmptySet(entry.set));
  kept.sort((a, b) => {
    if (a.operation !== b.operation) return a.operation === "Apply" ? -1 : 1;
    return a.time === b.time ? a.name.localeCompare(b.name) : a.time < b.time ? -1 : 1;
  });
  if (kept.length === 0) {
    delete object.metadata.managedFields;
    return;
  }
  object.metadata.managedFields = kept.map((entry) => ({
    manager: entry.name,
    operation: entry.operation,
    apiVersion: entry.apiVersion,
    time: entry.time,
    fieldsType: "FieldsV1",
    fieldsV1: formatFields(entry.set),
    ...(entry.subresource === "" ? {} : { subresource: entry.subresource }),
  }));
}

const isManager = (entry: Manager, manager: Manager): boolean =>
  entry.name === manager.name &&
  entry.operation === manager.operation &&
  entry.subresource === manager.subresource &&
  (entry.operation === "Apply" || entry.apiVersion === manager.apiVersion);

// The entries to go on from: the request may replace them (kubectl moves entries to server-side apply so).
function baseEntries(previous: KubeObject | undefined, object: KubeObject): Entry[] {
  const sent = object.metadata.managedFields;
  return readEntries(Array.isArray(sent) && sent.length > 0 ? object : previous);
}

/** Records what a create, update or patch changed, in `object.metadata.managedFields`. */
export function trackUpdate(
  resource: Resource,
  previous: KubeObject | undefined,
  object: KubeObject,
  manager: Manager,
  now: string,
): void {
  const mergeKey: MergeKeyOf = (path) => resource.mergeKey(path);
  const scope = (value: KubeObject | undefined): KubeObject =>
    value === undefined ? {} : ownable(value, resource, manager.subresource);
  const entries = baseEntries(previous, object);
  const changes = compareFields(scope(previous), scope(object), [], mergeKey);
  const written = union(changes.added, changes.modified);
  const touched = union(written, changes.removed);
  for (const entry of entries) if (!isManager(entry, manager)) entry.set = difference(entry.set, touched);
  let own = entries.find((entry) => isManager(entry, manager));
  if (own === undefined && !isEmptySet(written)) {
    own = { ...manager, time: now, set: emptySet() };
    entries.push(own);
  }
  if (own !== undefined) {
    const set = difference(union(own.set, written), changes.removed);
    if (!equalSets(set, own.set)) own.time = now;
    own.set = set;
  }
  writeEntries(object, entries);
}

/** Server-side apply: the live object with `config` applied. Throws a 409 on conflicts unless `force`. */
export function applyConfiguration(
  resource: Resource,
  live: KubeObject,
  config: KubeObject,
  manager: Manager,
  options: { force: boolean; now: string },
): KubeObject {
  const mergeKey: MergeKeyOf = (path) => resource.mergeKey(path);
  const entries = readEntries(live);
  const wanted = ownable(config, resource, manager.subresource);
  const set = fieldsOf(wanted, [], mergeKey);
  let own = entries.find((entry) => isManager(entry, manager));
  const lastSet = own?.set ?? emptySet();
  const others = entries.filter((entry) => !isManager(entry, manager));
  let merged = mergeFields(live, wanted, [], mergeKey);
  const abandoned = withoutOwned(difference(lastSet, set), set, others);
  merged = removeFields(merged, abandoned, [], mergeKey) ?? {};
  merged.metadata = { ...live.metadata, ...keepSystem(live, merged.metadata) };

  const scope = (value: KubeObject): KubeObject => ownable(value, resource, manager.subresource);
  const changes = compareFields(scope(live), scope(merged), [], mergeKey);
  const written = union(changes.added, changes.modified);
  const conflicts = others
    .map((entry) => ({ entry, set: intersection(entry.set, written) }))
    .filter((found) => !isEmptySet(found.set));
  if (conflicts.length > 0 && !options.force) throw applyConflict(conflicts);
  const touched = union(written, changes.removed);
  for (const entry of others) entry.set = difference(entry.set, touched);
  if (own === undefined) {
    own = { ...manager, time: options.now, set };
    entries.push(own);
  } else if (!equalSets(own.set, set) || own.apiVersion !== manager.apiVersion) {
    own.time = options.now;
    own.apiVersion = manager.apiVersion;
    own.set = set;
  }
  writeEntries(merged, entries);
  return merged;
}

// Metadata fields that the removal of others must not take along.
function keepSystem(live: KubeObject, metadata: KubeObject | undefined): KubeObject {
  const result: KubeObject = { ...metadata };
  for (const key of Object.keys(live.metadata)) {
    if (!SYSTEM_METADATA.includes(key) && metadata?.[key] === undefined) result[key] = undefined;
  }
  return result;
}

// Fields given up that nobody else has: a list item goes only when no one has any part of it.
function withoutOwned(abandoned: FieldSet, own: FieldSet | undefined, others: Entry[]): FieldSet {
  const walk = (set: FieldSet, owners: FieldSet[]): FieldSet => {
    const result = emptySet(set.self && owners.length === 0);
    for (const [key, child] of set.children) {
      const childOwners = owners.flatMap((owner) => owner.children.get(key) ?? []);
      const left = walk(child, childOwners);
      if (!isEmptySet(left)) result.children.set(key, left);
    }
    return result;
  };
  return walk(abandoned, [...(own === undefined ? [] : [own]), ...others.map((entry) => entry.set)]);
}

function applyConflict(conflicts: { entry: Entry; set: FieldSet }[]): StatusError {
  const causes = conflicts.flatMap(({ entry, set }) =>
    pathsOf(set).map((field) => ({
      reason: "FieldManagerConflict",
      message: `conflict with ${describe(entry)}${entry.operation === "Update" ? ` at ${entry.time}` : ""}`,
      field,
    })),
  );
  const plural = causes.length === 1 ? "conflict" : "conflicts";
  const parts = conflicts.map(({ entry, set }) => {
    const paths = pathsOf(set);
    return paths.length === 1
      ? `conflict with ${describe(entry)}: ${paths[0]}`
      : `conflicts with ${describe(entry)}:\n${paths.map((path) => `- ${path}`).join("\n")}`;
  });
  const message = `Apply failed with ${causes.length} ${plural}: ${parts.join("\n")}`;
  return new StatusError(409, "Conflict", message, { causes });
}

function describe(entry: Entry): string {
  const subresource = entry.subresource === "" ? "" : ` with subresource "${entry.subresource}"`;
  return `"${entry.name}"${subresource} using ${entry.apiVersion}`;
}
