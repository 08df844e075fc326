// SPDX-License-Identifier: Apache-2.0
import { isDeepStrictEqual } from "node:util";
import { Ajv, type ErrorObject, type ValidateFunction } from "ajv";
import { invalidValue, notSupported, required } from "../field-errors.ts";
import type { FieldError, KubeObject } from "../resource.ts";

type Check = (object: KubeObject, previous?: KubeObject) => FieldError[];

/** A function that checks objects against a structural schema; compiled when first used. */
export function schemaValidator(schema: KubeObject): Check {
  let compiled: ValidateFunction | undefined;
  return (object, previous) => {
    compiled ??= compile(schema);
    const { apiVersion: _apiVersion, kind: _kind, metadata: _metadata, ...content } = object;
    const errors = compiled(content) ? [] : (compiled.errors ?? []).flatMap(toFieldError);
    if (previous) errors.push(...immutableErrors(schema, object, previous, ""));
    return uniqueErrors(errors);
  };
}

function compile(schema: KubeObject): ValidateFunction {
  const ajv = new Ajv({ strict: false, allErrors: true, validateFormats: false, verbose: true });
  const { apiVersion: _a, kind: _k, metadata: _m, ...properties } = schema.properties ?? {};
  return ajv.compile(toJsonSchema({ ...schema, properties, required: schema.required?.filter(isContent) }));
}

function isContent(field: string): boolean {
  return !["apiVersion", "kind", "metadata"].includes(field);
}

const MAPS = ["properties", "patternProperties"];
const LISTS = ["oneOf", "anyOf", "allOf"];
const SINGLE = ["items", "additionalProperties", "not"];
const SKIPPED = ["default", "nullable", "format", "description", "example"];

// OpenAPI's structural schemas say a few things in other words than JSON schema.
function toJsonSchema(schema: KubeObject): KubeObject {
  const result: KubeObject = {};
  for (const [key, value] of Object.entries(schema)) {
    if (value === undefined || key.startsWith("x-kubernetes-") || SKIPPED.includes(key)) continue;
    if (MAPS.includes(key)) {
      const entries = Object.entries<KubeObject>(value).map(([name, item]) => [name, toJsonSchema(item)]);
      result[key] = Object.fromEntries(entries);
    } else if (LISTS.includes(key)) result[key] = value.map(toJsonSchema);
    else if (SINGLE.includes(key) && typeof value === "object") result[key] = toJsonSchema(value);
    else result[key] = value;
  }
  for (const [flag, bound] of [
    ["exclusiveMinimum", "minimum"],
    ["exclusiveMaximum", "maximum"],
  ] as const) {
    if (result[flag] === true) {
      result[flag] = result[bound];
      delete result[bound];
    } else if (result[flag] === false) delete result[flag];
  }
  if (schema["x-kubernetes-int-or-string"]) result.type = ["integer", "string"];
  if (schema["x-kubernetes-list-type"] === "set") result.uniqueItems = true;
  return schema.nullable ? { anyOf: [{ type: "null" }, result] } : result;
}

function fieldPath(pointer: string): string {
  let path = "";
  for (const part of pointer.split("/").slice(1)) {
    const name = part.replaceAll("~1", "/").replaceAll("~0", "~");
    path += /^\d+$/.test(name) ? `[${name}]` : path ? `.${name}` : name;
  }
  return path;
}

function typeName(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  if (typeof value === "number") return Number.isInteger(value) ? "integer" : "number";
  return typeof value;
}

function toFieldError(error: ErrorObject): FieldError[] {
  const field = fieldPath(error.instancePath);
  const { params, keyword } = error;
  const data = error.data as any;
  const body = (text: string) => [invalidValue(field || "<nil>", data, `${field} in body ${text}`)];
  switch (keyword) {
    case "required":
      return [required(field ? `${field}.${params.missingProperty}` : params.missingProperty)];
    case "type":
      return [typeError(field, data, params.type)];
    case "enum":
      return [notSupported(field, data, params.allowedValues.map(String))];
    case "minimum":
      return body(`should be greater than or equal to ${params.limit}`);
    case "maximum":
      return body(`should be less than or equal to ${params.limit}`);
    case "exclusiveMinimum":
      return body(`should be greater than ${params.limit}`);
    case "exclusiveMaximum":
      return body(`should be less than ${params.limit}`);
    case "pattern":
      return body(`should match '${params.pattern}'`);
    case "minLength":
      return body(`should be at least ${params.limit} chars long`);
    case "maxLength":
      return [
        {
          field,
          reason: "FieldValueTooLong",
          message: `Too long: may not be more than ${params.limit} bytes`,
        },
      ];
    case "minItems":
      return body(`should have at least ${params.limit} items`);
    case "maxItems":
      return [
        {
          field,
          reason: "FieldValueTooMany",
          message: `Too many: ${data.length}: must have at most ${params.limit} items`,
        },
      ];
    case "uniqueItems":
      return [
        {
          field: `${field}[${params.i}]`,
          reason: "FieldValueDuplicate",
          message: `Duplicate value: ${JSON.stringify(data[params.i])}`,
        },
      ];
    case "oneOf":
      return body("must validate one and only one schema (oneOf)");
    case "anyOf":
      // A nullable field's null alternative says nothing of its own.
      return (error.schema as KubeObject[] | undefined)?.[0]?.type === "null"
        ? []
        : body("must validate at least one schema (anyOf)");
    case "not":
      return body("must not validate the schema (not)");
    default:
      return body(error.message ?? `fails ${keyword}`);
  }
}

function typeError(field: string, value: unknown, expected: string | string[]): FieldError {
  const wanted = Array.isArray(expected) ? expected.join(",") : expected;
  const actual = typeName(value);
  return {
    field: field || "<nil>",
    reason: "FieldValueTypeInvalid",
    message: `Invalid value: "${actual}": ${field} in body must be of type ${wanted}: "${actual}"`,
  };
}

function uniqueErrors(errors: FieldError[]): FieldError[] {
  // `type: null` of a nullable field's first alternative is noise beside the real complaint.
  const real = errors.filter((error) => !error.message.includes("must be of type null"));
  return [...new Map(real.map((error) => [`${error.field}: ${error.message}`, error])).values()];
}

// Of the CEL rules only the commonest is understood: a field that may not change.
const IMMUTABLE = /^\s*(?:self\s*==\s*oldSelf|oldSelf\s*==\s*self)\s*$/;

function immutableErrors(schema: KubeObject, value: unknown, before: unknown, path: string): FieldError[] {
  if (value === undefined || before === undefined) return [];
  const errors: FieldError[] = [];
  for (const { rule, message } of schema["x-kubernetes-validations"] ?? []) {
    if (!IMMUTABLE.test(rule) || isDeepStrictEqual(value, before)) continue;
    const shown = typeof value === "object" ? typeName(value) : value;
    errors.push(invalidValue(path || "<nil>", shown, message ?? `failed rule: ${rule}`));
  }
  if (typeof value !== "object" || value === null || typeof before !== "object" || before === null)
    return errors;
  for (const [key, child] of Object.entries<KubeObject>(schema.properties ?? {})) {
    const at = path ? `${path}.${key}` : key;
    errors.push(...immutableErrors(child, (value as KubeObject)[key], (before as KubeObject)[key], at));
  }
  return errors;
}
