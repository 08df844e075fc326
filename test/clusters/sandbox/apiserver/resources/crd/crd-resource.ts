// SPDX-License-Identifier: Apache-2.0
import { decodeBuiltin } from "../decode.ts";
import type { DecodeResult, KubeObject, MergeKey, Resource, ScalePaths } from "../resource.ts";
import { validateMeta } from "../validation/object-meta.ts";
import { prepareCustom } from "./custom-strategy.ts";
import { readJsonPath } from "./json-path.ts";
import { printerColumns, printerRow } from "./printer-columns.ts";
import { applySchemaDefaults } from "./schema-defaults.ts";
import { schemaValidator } from "./schema-validation.ts";
import { prune } from "./structural.ts";

const VERBS = ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];

/** The kinds a CustomResourceDefinition serves, one for each served version. */
export function crdResources(crd: KubeObject): Resource[] {
  const versions: KubeObject[] = crd.spec?.versions ?? [];
  const storageVersion = versions.find((version) => version.storage)?.name ?? versions[0]?.name;
  return versions
    .filter((version) => version.served)
    .map((version) => versionResource(crd.spec, version, storageVersion));
}

function versionResource(spec: KubeObject, version: KubeObject, storageVersion: string): Resource {
  const { names, group } = spec;
  const schema: KubeObject = version.schema?.openAPIV3Schema ?? {};
  const apiVersion = `${group}/${version.name}`;
  const hasStatus = version.subresources?.status !== undefined;
  const namespaced = spec.scope === "Namespaced";
  const resource: Resource = {
    group,
    version: version.name,
    kind: names.kind,
    listKind: names.listKind ?? `${names.kind}List`,
    plural: names.plural,
    singular: names.singular ?? String(names.kind).toLowerCase(),
    shortNames: names.shortNames ?? [],
    categories: names.categories ?? [],
    namespaced,
    verbs: VERBS,
    subresources: [...(hasStatus ? ["status"] : []), ...(version.subresources?.scale ? ["scale"] : [])],
    custom: true,
    strategicMerge: false,
    schema,
    fromStorage: (object) => (object.apiVersion === apiVersion ? object : { ...object, apiVersion }),
    toStorage: (object) => ({ ...object, apiVersion: `${group}/${storageVersion}` }),
    defaults: (object) => applySchemaDefaults(schema, object),
    prepare: (ctx) => prepareCustom(resource, hasStatus, ctx),
    decode: (object) => decodeCustom(schema, object),
    selectableFields: (object) => customFields(version, namespaced, object),
    columns: printerColumns(version.additionalPrinterColumns),
    row: (object, now) => printerRow(version.additionalPrinterColumns, object, now),
    mergeKey: (path) => schemaMergeKey(schema, path),
    scale: scalePaths(version.subresources?.scale),
  };
  const check = schemaValidator(schema);
  resource.validate = (object, previous) => [
    ...validateMeta(object, previous, { namespaced }),
    ...check(object, previous),
  ];
  return resource;
}

function decodeCustom(schema: KubeObject, object: KubeObject): DecodeResult {
  const metadata = typeof object.metadata === "object" ? object.metadata : {};
  const result = decodeBuiltin("V1ObjectMeta", metadata);
  const unknown = result.unknown.map((text) => text.replace('unknown field "', 'unknown field "metadata.'));
  return {
    unknown: [...unknown, ...prune(schema, object, "", true)],
    mismatch: result.mismatch,
  };
}

function customFields(version: KubeObject, namespaced: boolean, object: KubeObject): Record<string, string> {
  const fields: Record<string, string> = { "metadata.name": object.metadata?.name ?? "" };
  if (namespaced) fields["metadata.namespace"] = object.metadata?.namespace ?? "";
  for (const { jsonPath } of version.selectableFields ?? []) {
    fields[jsonPath.replace(/^\./, "")] = String(readJsonPath(jsonPath, object)[0] ?? "");
  }
  return fields;
}

function scalePaths(scale: KubeObject | undefined): ScalePaths | undefined {
  if (!scale) return undefined;
  return {
    spec: scale.specReplicasPath,
    status: scale.statusReplicasPath,
    selector: scale.labelSelectorPath,
  };
}

function schemaMergeKey(schema: KubeObject, path: string[]): MergeKey | undefined {
  if (path[0] === "metadata") return metadataMergeKey(path);
  let current: KubeObject | undefined = schema;
  for (const part of path) {
    while (current?.items) current = current.items;
    current = current?.properties?.[part] ?? objectOrNothing(current?.additionalProperties);
  }
  if (!current) return undefined;
  const listType = current["x-kubernetes-list-type"];
  if (listType) return { listType, keys: current["x-kubernetes-list-map-keys"] ?? [] };
  if (current["x-kubernetes-map-type"] === "atomic" || current.type === "array")
    return { listType: "atomic", keys: [] };
  return undefined;
}

function metadataMergeKey(path: string[]): MergeKey | undefined {
  if (path.length !== 2) return undefined;
  if (path[1] === "finalizers") return { listType: "set", keys: [] };
  if (path[1] === "ownerReferences") return { listType: "map", keys: ["uid"], patchMergeKey: "uid" };
  return undefined;
}

function objectOrNothing(value: unknown): KubeObject | undefined {
  return typeof value === "object" && value !== null ? (value as KubeObject) : undefined;
}
