// SPDX-License-Identifier: Apache-2.0
import type { KubeObject, Resource } from "../resource.ts";
import { type OpenApiVersion, reference } from "./builtin-schemas.ts";

const OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const LIST_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";

const API_VERSION = {
  type: "string",
  description:
    "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized schemas to the latest internal value, and may reject unrecognized values. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources",
};
const KIND = {
  type: "string",
  description:
    "Kind is a string value representing the REST resource this object represents. Servers may infer this from the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds",
};

/** The OpenAPI name of a custom kind: `dev.shunt.v1alpha1.ShuntNode`. */
export function customDefinitionName(resource: Resource, kind = resource.kind): string {
  return `${resource.group.split(".").reverse().join(".")}.${resource.version}.${kind}`;
}

/** The definitions of a custom kind and its list. */
export function customDefinitions(resource: Resource, version: OpenApiVersion): Record<string, KubeObject> {
  const { group, version: apiVersion, kind, listKind } = resource;
  const name = customDefinitionName(resource);
  const source = resource.schema ?? { type: "object", "x-kubernetes-preserve-unknown-fields": true };
  const schema = version === 2 ? forSwagger(source) : structuredClone(source);
  schema.properties = {
    ...schema.properties,
    apiVersion: API_VERSION,
    kind: KIND,
    metadata: {
      ...reference(OBJECT_META, version),
      description:
        "Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata",
    },
  };
  schema["x-kubernetes-group-version-kind"] = [{ group, kind, version: apiVersion }];
  const list: KubeObject = {
    description: `${listKind} is a list of ${kind}`,
    type: "object",
    required: ["items"],
    properties: {
      apiVersion: API_VERSION,
      kind: KIND,
      items: {
        description: `List of ${resource.plural}. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md`,
        type: "array",
        items: reference(name, version, false),
      },
      metadata: reference(LIST_META, version),
    },
    "x-kubernetes-group-version-kind": [{ group, kind: listKind, version: apiVersion }],
  };
  return { [name]: schema, [customDefinitionName(resource, listKind)]: list };
}

const NOT_IN_SWAGGER = ["oneOf", "anyOf", "allOf", "not", "nullable", "default", "x-kubernetes-validations"];

// OpenAPI v2 cannot say everything; what it cannot is left out, as the real server does.
function forSwagger(schema: KubeObject): KubeObject {
  const result: KubeObject = {};
  for (const [key, value] of Object.entries(schema)) {
    if (NOT_IN_SWAGGER.includes(key)) continue;
    if (key === "properties") {
      result.properties = Object.fromEntries(
        Object.entries<KubeObject>(value).map(([name, item]) => [name, forSwagger(item)]),
      );
    } else if ((key === "items" || key === "additionalProperties") && typeof value === "object") {
      result[key] = forSwagger(value);
    } else result[key] = structuredClone(value);
  }
  const untyped = schema["x-kubernetes-int-or-string"] || schema.nullable;
  if (untyped) for (const key of ["type", "items", "properties"]) delete result[key];
  if (schema["x-kubernetes-preserve-unknown-fields"]) {
    // Clients that validate by this document would refuse the fields that are to be preserved.
    for (const key of ["properties", "items"]) delete result[key];
  }
  return result;
}
