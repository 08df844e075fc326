// SPDX-License-Identifier: Apache-2.0
// The forms in which clients ask for objects: as they are, as table rows, as metadata only.
import type { KubeObject, Resource } from "./resources/index.ts";
import { notAcceptable } from "./status.ts";

/** What the Accept header asks for. */
export interface Representation {
  as: "object" | "table" | "metadata";
  /** Version of meta.k8s.io for tables and metadata. */
  version: string;
  includeObject: "None" | "Metadata" | "Object";
  yaml: boolean;
}

const PLAIN: Representation = { as: "object", version: "v1", includeObject: "Metadata", yaml: false };

/** Chooses the first offered form that is served. Throws a 406. */
export function negotiate(accept: string | undefined, query: URLSearchParams): Representation {
  if (accept === undefined || accept.trim() === "") return PLAIN;
  for (const clause of accept.split(",")) {
    const [type = "", ...parameters] = clause.split(";").map((part) => part.trim());
    const parameter = new Map(parameters.map((text) => text.split("=", 2) as [string, string]));
    const yaml = type === "application/yaml";
    if (!yaml && !["application/json", "*/*", "application/*"].includes(type)) continue;
    const as = parameter.get("as");
    if (as === undefined) return { ...PLAIN, yaml };
    const version = parameter.get("v") ?? "v1";
    if (parameter.get("g") !== "meta.k8s.io" || !["v1", "v1beta1"].includes(version)) continue;
    if (as === "Table") {
      const include = query.get("includeObject") ?? "Metadata";
      return { as: "table", version, includeObject: include as Representation["includeObject"], yaml };
    }
    if (as === "PartialObjectMetadata" || as === "PartialObjectMetadataList")
      return { ...PLAIN, as: "metadata", version, yaml };
  }
  throw notAcceptable();
}

const metaVersion = (form: Representation): string => `meta.k8s.io/${form.version}`;

function partial(object: KubeObject, form: Representation): KubeObject {
  return { kind: "PartialObjectMetadata", apiVersion: metaVersion(form), metadata: object.metadata };
}

function tableRow(resource: Resource, object: KubeObject, form: Representation, now: Date): KubeObject {
  const row: KubeObject = { cells: resource.row(object, now) };
  if (form.includeObject === "Object") row.object = object;
  else if (form.includeObject !== "None") row.object = partial(object, form);
  return row;
}

/** A Table of these objects. */
export function tableOf(
  resource: Resource,
  objects: KubeObject[],
  metadata: KubeObject,
  form: Representation,
  now = new Date(),
): KubeObject {
  return {
    kind: "Table",
    apiVersion: metaVersion(form),
    metadata,
    columnDefinitions: resource.columns,
    rows: objects.map((object) => tableRow(resource, object, form, now)),
  };
}

/** One object in the form asked for. */
export function representObject(resource: Resource, object: KubeObject, form: Representation): KubeObject {
  if (object.kind === "Status" || form.as === "object") return object;
  if (form.as === "metadata") return partial(object, form);
  return tableOf(resource, [object], { resourceVersion: object.metadata.resourceVersion }, form);
}

/** A list in the form asked for. */
export function representList(
  resource: Resource,
  items: KubeObject[],
  metadata: KubeObject,
  form: Representation,
): KubeObject {
  if (form.as === "table") return tableOf(resource, items, metadata, form);
  const apiVersion = resource.group === "" ? resource.version : `${resource.group}/${resource.version}`;
  if (form.as === "object") return { kind: resource.listKind, apiVersion, metadata, items };
  return {
    kind: "PartialObjectMetadataList",
    apiVersion: metaVersion(form),
    metadata,
    items: items.map((item) => partial(item, form)),
  };
}

const jsonOf = new WeakMap<KubeObject, string>();

/** The JSON of an object that never changes again, made once however many clients watch it. */
export function cachedJson(object: KubeObject): string {
  let json = jsonOf.get(object);
  if (json === undefined) {
    json = JSON.stringify(object);
    jsonOf.set(object, json);
  }
  return json;
}
