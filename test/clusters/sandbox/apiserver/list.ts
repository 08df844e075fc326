// SPDX-License-Identifier: Apache-2.0
import { type Call, present, storageOf } from "./api.ts";
import type { KubeObject, Resource } from "./resources/index.ts";
import { matchesFields, matchesLabels, parseFieldSelector, parseLabelSelector } from "./selectors.ts";
import { badRequest, StatusError } from "./status.ts";

/** Whether an object belongs to what a list or watch asked for. */
export type Filter = (object: KubeObject) => boolean;

/** The selectors of a request as one function. Throws a 400. */
export function filterOf(call: Call): Filter {
  const { query } = call.info;
  const labels = parseLabelSelector(query.get("labelSelector") ?? "");
  const fields = parseFieldSelector(query.get("fieldSelector") ?? "");
  if (labels.length === 0 && fields.length === 0) return () => true;
  const { resource } = call;
  if (fields.length > 0) checkFields(resource, fields);
  return (object) =>
    matchesLabels(labels, object.metadata.labels) &&
    (fields.length === 0 || matchesFields(fields, resource.selectableFields(object)));
}

// A field that the kind does not offer is refused even when there is no object to compare.
function checkFields(resource: Resource, fields: ReturnType<typeof parseFieldSelector>): void {
  const sample = resource.selectableFields({
    apiVersion: "v1",
    kind: resource.kind,
    metadata: {},
    spec: {},
    status: {},
  });
  for (const { field } of fields)
    if (!Object.hasOwn(sample, field)) throw badRequest(`field label not supported: ${field}`);
}

interface Continue {
  rv: number;
  start: string;
}

function decodeContinue(token: string): Continue {
  try {
    const value = JSON.parse(Buffer.from(token, "base64url").toString("utf8"));
    if (Number.isInteger(value.rv) && typeof value.start === "string") return value;
  } catch {}
  throw badRequest("continue key is not valid");
}

/** The revision a request names; undefined when it takes any. Throws a 400 or, for the future, a 504. */
export function requestedRevision(call: Call): number | undefined {
  const text = call.info.query.get("resourceVersion");
  if (text === null || text === "" || text === "0") return undefined;
  if (!/^\d{1,15}$/.test(text))
    throw badRequest(
      `resourceVersion: Invalid value: "${text}": strconv.ParseUint: parsing "${text}": invalid syntax`,
    );
  const revision = Number(text);
  if (revision > call.api.store.revision)
    throw new StatusError(
      504,
      "Timeout",
      `Timeout: Too large resource version: ${revision}, current: ${call.api.store.revision}`,
      {
        causes: [{ reason: "ResourceVersionTooLarge", message: "Too large resource version" }],
        retryAfterSeconds: 1,
      },
    );
  return revision;
}

/** One page (or all) of what a list request selects, as presented. */
export function listObjects(call: Call): { items: KubeObject[]; metadata: KubeObject } {
  const { api, info, resource } = call;
  const { query } = info;
  const storage = storageOf(resource);
  const filter = filterOf(call);
  const limit = Number(query.get("limit") ?? 0) || 0;
  const token = query.get("continue") ?? "";
  const from = token === "" ? undefined : decodeContinue(token);
  const asked = requestedRevision(call);
  const exact = query.get("resourceVersionMatch") === "Exact" ? asked : undefined;
  const revision = from?.rv ?? exact ?? api.store.revision;
  const items: KubeObject[] = [];
  let more = 0;
  let last = "";
  for (const [key, stored] of api.store.listSorted(storage.group, storage.plural, info.namespace, revision)) {
    if (from !== undefined && key <= from.start) continue;
    if (limit > 0 && items.length >= limit) {
      more++;
      continue;
    }
    const object = present(resource, stored);
    if (!filter(object)) continue;
    items.push(object);
    last = key;
  }
  const metadata: KubeObject = { resourceVersion: String(revision) };
  if (more > 0) {
    metadata.continue = Buffer.from(JSON.stringify({ rv: revision, start: last })).toString("base64url");
    if (!query.get("labelSelector") && !query.get("fieldSelector")) metadata.remainingItemCount = more;
  }
  return { items, metadata };
}
