// SPDX-License-Identifier: Apache-2.0
import { isAtomicModel, propertyMergeRule } from "../merge-keys.ts";
import type { KubeObject } from "../resource.ts";
import { loadModel, type Property, type TypeRef } from "../schema/models.ts";
import { definitionNames, rootModels } from "./definition-names.ts";
import { enumeration, fieldWords } from "./field-notes.ts";

/** Which of the two published forms of OpenAPI. */
export type OpenApiVersion = 2 | 3;

const TIME = "io.k8s.apimachinery.pkg.apis.meta.v1.Time";
const MICRO_TIME = "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime";
const QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity";
const INT_OR_STRING = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";

const PREFIX = { 2: "#/definitions/", 3: "#/components/schemas/" } as const;

/** A reference to a definition. In version 3 it is wrapped, so that a description may stand beside it. */
export function reference(name: string, version: OpenApiVersion, described = true): KubeObject {
  const ref = { $ref: PREFIX[version] + name };
  return version === 3 && described ? { allOf: [ref] } : ref;
}

/** The definitions the built-in types share that are no models: times, quantities, int-or-string. */
function scalarDefinitions(version: OpenApiVersion): Record<string, KubeObject> {
  const either = (first: string) =>
    version === 3
      ? { oneOf: [{ type: first }, { type: first === "string" ? "number" : "string" }] }
      : { type: "string" };
  return {
    [TIME]: {
      description:
        "Time is a wrapper around time.Time which supports correct marshaling to YAML and JSON.  Wrappers are provided for many of the factory methods that the time package offers.",
      format: "date-time",
      type: "string",
    },
    [MICRO_TIME]: {
      description: "MicroTime is version of Time with microsecond level precision.",
      format: "date-time",
      type: "string",
    },
    [QUANTITY]: {
      description: "Quantity is a fixed-point representation of a number.",
      ...either("string"),
    },
    [INT_OR_STRING]: {
      description: "IntOrString is a type that can hold an int32 or a string.",
      format: "int-or-string",
      ...either("integer"),
    },
  };
}

function typeSchema(type: TypeRef, format: string, version: OpenApiVersion, nested = false): KubeObject {
  switch (type.kind) {
    case "model":
      return reference(definitionNames().get(type.name) ?? type.name, version, !nested);
    case "array":
      return { type: "array", items: typeSchema(type.items, format, version, version === 2) };
    case "map":
      return {
        type: "object",
        additionalProperties: typeSchema(type.values, format, version, version === 2),
      };
    case "time":
      return reference(TIME, version, !nested);
    case "micro-time":
      return reference(MICRO_TIME, version, !nested);
    case "quantity":
      return reference(QUANTITY, version, !nested);
    case "int-or-string":
      return reference(INT_OR_STRING, version, !nested);
    case "bytes":
      return { type: "string", format: "byte" };
    case "any":
      return {};
    case "integer":
    case "number":
      return { type: type.kind, ...(format ? { format } : {}) };
    default:
      return { type: type.kind };
  }
}

function propertySchema(model: string, property: Property, version: OpenApiVersion): KubeObject {
  const schema = typeSchema(property.type, property.format, version);
  const description = property.description || referredDescription(model, property);
  const values = enumeration(model, property.name);
  if (values) schema.enum = values;
  if (description) schema.description = description;
  const rule = propertyMergeRule(model, property.name, property.type);
  if (rule && property.type.kind === "array") addListRule(schema, rule);
  else if (rule && property.type.kind === "map") schema["x-kubernetes-map-type"] = "atomic";
  if (model === "V1DeploymentSpec" && property.name === "strategy") {
    schema["x-kubernetes-patch-strategy"] = "retainKeys";
  }
  return schema;
}

// The generated models describe no field that holds another model; the model's own words must do.
function referredDescription(model: string, { name, type }: Property): string {
  if (type.kind !== "model") return "";
  return fieldWords(model, name) ?? loadModel(type.name).description;
}

function addListRule(schema: KubeObject, rule: NonNullable<ReturnType<typeof propertyMergeRule>>): void {
  schema["x-kubernetes-list-type"] = rule.listType;
  if (rule.keys.length) schema["x-kubernetes-list-map-keys"] = rule.keys;
  if (rule.patchMergeKey) schema["x-kubernetes-patch-merge-key"] = rule.patchMergeKey;
  if (rule.patchMergeKey || rule.listType === "set") {
    schema["x-kubernetes-patch-strategy"] = rule.retainKeys ? "merge,retainKeys" : "merge";
  }
}

/** The definition of one model. */
function modelSchema(name: string, version: OpenApiVersion): KubeObject {
  const model = loadModel(name);
  const schema: KubeObject = { type: "object" };
  if (model.description) schema.description = model.description;
  if (model.properties.size) schema.properties = {};
  for (const property of model.properties.values()) {
    schema.properties[property.name] = propertySchema(name, property, version);
  }
  const required = [...model.properties.values()].filter((item) => item.required).map((item) => item.name);
  if (required.length) schema.required = required;
  if (isAtomicModel(name)) schema["x-kubernetes-map-type"] = "atomic";
  return schema;
}

/** Every built-in definition by its OpenAPI name. */
export function builtinDefinitions(version: OpenApiVersion): Record<string, KubeObject> {
  const definitions: Record<string, KubeObject> = scalarDefinitions(version);
  for (const [model, name] of definitionNames()) definitions[name] = modelSchema(model, version);
  for (const { group, version: apiVersion, model, kind } of rootModels()) {
    const definition = definitions[definitionNames().get(model) ?? ""];
    if (definition) definition["x-kubernetes-group-version-kind"] = [{ group, kind, version: apiVersion }];
  }
  return definitions;
}
