// SPDX-License-Identifier: Apache-2.0
import { parse as parseYaml } from "yaml";
import { errorMessage } from "../../../../../lib/errors.ts";
import { type Call, checkBody, groupVersion, present, storageOf, timestamp } from "../api.ts";
import { applyConfiguration } from "../fields/managed-fields.ts";
import { isTrue } from "../request-info.ts";
import type { KubeObject } from "../resources/index.ts";
import { badRequest, invalid, notFound, unsupportedMediaType } from "../status.ts";
import { createObject, managerOf, updateObject } from "../write.ts";
import { decodeApplied, decodePatched, printGoValue } from "./decode-patched.ts";
import { applyJsonPatch, applyMergePatch } from "./json-patch.ts";
import { applyStrategicPatch } from "./strategic.ts";

const JSON_PATCH = "application/json-patch+json";
const MERGE_PATCH = "application/merge-patch+json";
const STRATEGIC_PATCH = "application/strategic-merge-patch+json";
const APPLY_PATCH = ["application/apply-patch+yaml", "application/apply-patch+json"];

/** A patch as sent. */
export interface PatchBody {
  contentType: string;
  text: string;
}

function parse(body: PatchBody): any {
  try {
    return body.contentType.endsWith("+yaml") ? parseYaml(body.text) : JSON.parse(body.text);
  } catch (error) {
    throw badRequest(`error decoding patch: ${errorMessage(error)}`);
  }
}

/** The document with a patch of any kind but apply put over it. Throws a 415 for a type it does not know. */
export function patchDocument(call: Call, document: KubeObject, body: PatchBody): KubeObject {
  const { resource } = call;
  if (body.contentType === JSON_PATCH) return applyJsonPatch(document, parse(body));
  if (body.contentType === MERGE_PATCH) return applyMergePatch(document, parse(body));
  if (body.contentType === STRATEGIC_PATCH && resource.strategicMerge)
    return applyStrategicPatch(structuredClone(document), parse(body), (path) => resource.mergeKey(path));
  const accepted = [
    JSON_PATCH,
    MERGE_PATCH,
    ...(resource.strategicMerge ? [STRATEGIC_PATCH] : []),
    APPLY_PATCH[0],
  ];
  throw unsupportedMediaType(accepted.join(", "));
}

/** PATCH of an object or of its status; server-side apply creates what is missing. */
export function patchObject(
  call: Call,
  body: PatchBody,
  operation: "update" | "status",
): { object: KubeObject; created: boolean } {
  const { resource, info, api } = call;
  const storage = storageOf(resource);
  const stored = api.store.get(storage.group, storage.plural, info.namespace, info.name);
  const live = stored === undefined ? undefined : present(resource, stored);
  if (APPLY_PATCH.includes(body.contentType)) return serverSideApply(call, live, parse(body), operation);
  if (live === undefined) throw notFound(resource, info.name);
  const patched = patchDocument(call, live, body);
  if (patched === null || typeof patched !== "object" || patched.metadata === null)
    throw badRequest("the patched document is not an object");
  const document = structuredClone(patched);
  const isStrategic = body.contentType === STRATEGIC_PATCH;
  decodePatched(call, document, () => (isStrategic ? printGoValue(parse(body)) : JSON.stringify(patched)));
  if (patched.metadata?.name !== live.metadata.name)
    throw invalid(resource, live.metadata.name, [
      { field: "metadata.name", reason: "FieldValueInvalid", message: "Invalid value: field is immutable" },
    ]);
  return { object: updateObject(call, live, document, { operation, trusted: true }), created: false };
}

function serverSideApply(
  call: Call,
  live: KubeObject | undefined,
  config: KubeObject,
  operation: "update" | "status",
): { object: KubeObject; created: boolean } {
  const { resource, info } = call;
  const { query } = info;
  if (!query.get("fieldManager"))
    throw invalid({ group: "meta.k8s.io", kind: "PatchOptions" }, "", [
      {
        field: "fieldManager",
        reason: "FieldValueRequired",
        message: "Required value: is required for apply patch",
      },
    ]);
  checkBody(call, config);
  decodeApplied(call, config);
  if (config.metadata.managedFields !== undefined && config.metadata.managedFields.length > 0)
    throw badRequest("metadata.managedFields must be nil");
  config.metadata.name ??= info.name;
  if (config.metadata.name !== info.name)
    throw badRequest(
      `the name of the object (${config.metadata.name}) does not match the name on the URL (${info.name})`,
    );
  if (live === undefined && operation === "status") throw notFound(resource, info.name);
  const base = live ?? {
    apiVersion: groupVersion(resource),
    kind: resource.kind,
    metadata: {
      name: info.name,
      ...(resource.namespaced ? { namespace: info.namespace } : {}),
    },
  };
  const options = { force: isTrue(query.get("force")), now: timestamp() };
  const applied = structuredClone(
    applyConfiguration(resource, base, config, managerOf(call, "Apply"), options),
  );
  if (live === undefined) return { object: createObject(call, applied, true), created: true };
  const { uid, resourceVersion } = config.metadata;
  if (uid !== undefined) applied.metadata.uid = uid;
  if (resourceVersion !== undefined) applied.metadata.resourceVersion = resourceVersion;
  return { object: updateObject(call, live, applied, { operation, tracked: true }), created: false };
}
