// SPDX-License-Identifier: Apache-2.0
import type { Logger } from "../../../../lib/log.ts";
import type { RequestInfo } from "./request-info.ts";
import type { KubeObject, OpenApi, Registry, Resource, UserInfo } from "./resources/index.ts";
import { badRequest, type Named, StatusError } from "./status.ts";
import type { Store } from "./store.ts";
import type { TokenAuthority } from "./tokens.ts";

/** What every request handler works with. */
export interface Api {
  store: Store;
  registry: Registry;
  openApi: OpenApi;
  tokens: TokenAuthority;
  log: Logger;
}

/** What admission webhooks have to say about a write; of a deletion there is no object. */
export interface Admission {
  /** Changes a new or changed object, in place, as mutating webhooks want it. */
  mutate(call: Call, object: KubeObject | undefined, previous: KubeObject | undefined): void;
  /** Lets validating webhooks see what is about to be stored, or deleted. */
  validate(call: Call, object: KubeObject | undefined, previous: KubeObject | undefined): void;
}

/** One request for a resource, authenticated and authorized. */
export interface Call {
  api: Api;
  info: RequestInfo;
  user: UserInfo;
  resource: Resource;
  /** The name that managedFields gives the writer. */
  manager: string;
  /** Goes out in Warning headers. */
  warnings: string[];
  dryRun: boolean;
  /** What webhooks said; undefined when none is there, or the server itself writes. */
  admission?: Admission | undefined;
}

/** The present time as the API writes it. */
export function timestamp(atMs: number = Date.now()): string {
  return `${new Date(atMs).toISOString().slice(0, 19)}Z`;
}

/** Where the objects of a kind are stored. */
export function storageOf(resource: Resource): Named {
  return resource.storage ?? { group: resource.group, plural: resource.plural };
}

/** `apps/v1`, or `v1` in the core group. */
export function groupVersion(resource: { group: string; version: string }): string {
  return resource.group === "" ? resource.version : `${resource.group}/${resource.version}`;
}

/** A stored object in the version that was asked for. The stored one is never changed. */
export function present(resource: Resource, stored: KubeObject): KubeObject {
  if (resource.fromStorage !== undefined) return resource.fromStorage(stored);
  const apiVersion = groupVersion(resource);
  if (stored.apiVersion === apiVersion && stored.kind === resource.kind) return stored;
  return { ...stored, apiVersion, kind: resource.kind };
}

/** Refuses a body that is not an object of this kind and version, in this namespace. Throws a 400. */
export function checkBody(call: Call, object: unknown): asserts object is KubeObject {
  const { resource, info } = call;
  if (object === null || typeof object !== "object" || Array.isArray(object))
    throw badRequest("the object provided is unrecognized (must be of type JSON object)");
  const body = object as KubeObject;
  const apiVersion = groupVersion(resource);
  body.apiVersion ??= apiVersion;
  body.kind ??= resource.kind;
  if (body.kind !== resource.kind)
    throw badRequest(
      `${resource.kind} in version "${resource.version}" cannot be handled as a ${resource.kind}: no kind "${body.kind}" is registered for version "${body.apiVersion}"`,
    );
  if (body.apiVersion !== apiVersion)
    throw badRequest(
      `the API version in the data (${body.apiVersion}) does not match the expected API version (${apiVersion})`,
    );
  body.metadata ??= {};
  if (typeof body.metadata !== "object" || Array.isArray(body.metadata))
    throw badRequest("metadata must be an object");
  if (!resource.namespaced) return;
  body.metadata.namespace ??= info.namespace;
  if (info.namespace !== undefined && body.metadata.namespace !== info.namespace)
    throw badRequest(`the namespace of the provided object does not match the namespace sent on the request`);
}

/** What to do with fields that a type does not have: Strict, Warn or Ignore. Throws a 422. */
export function fieldValidation(call: Call): string {
  const validation = call.info.query.get("fieldValidation") || "Warn";
  if (!["Strict", "Warn", "Ignore"].includes(validation))
    throw new StatusError(422, "Invalid", `fieldValidation: Unsupported value: "${validation}"`);
  return validation;
}

/** Decodes against the kind's types: drops, reports or refuses unknown fields as the request wants it. */
export function decodeObject(call: Call, object: KubeObject): void {
  const result = call.resource.decode?.(object);
  if (result === undefined) return;
  if (result.mismatch !== undefined)
    throw badRequest(
      `${call.resource.kind} in version "${call.resource.version}" cannot be handled as a ${call.resource.kind}: ${result.mismatch}`,
    );
  const validation = fieldValidation(call);
  if (validation === "Strict" && result.unknown.length > 0)
    throw badRequest(
      `${call.resource.kind} in version "${call.resource.version}" cannot be handled as a ${call.resource.kind}: strict decoding error: ${result.unknown.join(", ")}`,
    );
  if (validation === "Warn") call.warnings.push(...result.unknown);
}
