// SPDX-License-Identifier: Apache-2.0
// Decoding against the API's types, as the real server's JSON decoder does it: unknown fields are dropped
// and reported, a wrong type ends the request with the decoder's own words.
import type { DecodeResult, KubeObject } from "./resource.ts";
import { loadModel, type Property, type TypeRef } from "./schema/models.ts";
import { canonicalQuantity, QUANTITY_ERROR } from "./schema/quantity.ts";

class Mismatch extends Error {}

interface Cursor {
  unknown: string[];
}

/** Drops the fields the model does not have, normalises quantities and reports wrong types. */
export function decodeBuiltin(model: string, object: KubeObject): DecodeResult {
  const cursor: Cursor = { unknown: [] };
  try {
    decodeModel(model, object, "", cursor);
    return { unknown: cursor.unknown };
  } catch (error) {
    if (error instanceof Mismatch) return { unknown: cursor.unknown, mismatch: error.message };
    throw error;
  }
}

function decodeModel(name: string, value: KubeObject, path: string, cursor: Cursor): void {
  const { properties } = loadModel(name);
  const goName = goTypeName(name);
  for (const key of Object.keys(value)) {
    const at = path ? `${path}.${key}` : key;
    const property = properties.get(key) ?? EXTRA_FIELDS.get(`${name}.${key}`);
    if (!property) {
      if (name === "V1JSONSchemaProps") continue;
      cursor.unknown.push(`unknown field "${at}"`);
      delete value[key];
      continue;
    }
    // JSON null means unset everywhere in the API's types.
    if (value[key] === null) {
      if (property.type.kind !== "any") delete value[key];
      continue;
    }
    if (name === "V1ManagedFieldsEntry" && key === "fieldsV1") continue;
    value[key] = decodeValue(
      property.type,
      value[key],
      { goName, path: at, format: property.format },
      cursor,
    );
  }
}

// Fields of the API that the generated models leave out.
const EXTRA_FIELDS: ReadonlyMap<string, Property> = new Map(
  ["selfLink", "clusterName"].map((name) => [
    `V1ObjectMeta.${name}`,
    { name, type: { kind: "string" }, format: "", required: false, description: "" },
  ]),
);

interface Place {
  goName: string;
  path: string;
  format: string;
}

function decodeValue(type: TypeRef, value: unknown, place: Place, cursor: Cursor): unknown {
  switch (type.kind) {
    case "any":
      return value;
    case "model":
      if (!isObject(value)) throw wrongType(value, place, goType(type));
      decodeModel(type.name, value, place.path, cursor);
      return value;
    case "array":
      return decodeArray(type, value, place, cursor);
    case "map":
      return decodeMap(type, value, place, cursor);
    case "quantity":
      return decodeQuantity(value);
    default:
      checkScalar(type, value, place);
      return value;
  }
}

function decodeArray(
  type: TypeRef & { kind: "array" },
  value: unknown,
  place: Place,
  cursor: Cursor,
): unknown {
  if (!Array.isArray(value)) throw wrongType(value, place, goType(type));
  return value.map((item, index) =>
    item === null
      ? emptyOf(type.items)
      : decodeValue(type.items, item, { ...place, path: `${place.path}[${index}]` }, cursor),
  );
}

function decodeMap(type: TypeRef & { kind: "map" }, value: unknown, place: Place, cursor: Cursor): unknown {
  if (!isObject(value)) throw wrongType(value, place, goType(type));
  for (const [key, item] of Object.entries(value)) {
    if (item === null) value[key] = emptyOf(type.values);
    else value[key] = decodeValue(type.values, item, { ...place, path: `${place.path}.${key}` }, cursor);
  }
  return value;
}

function emptyOf(type: TypeRef): unknown {
  if (type.kind === "string" || type.kind === "bytes") return "";
  if (type.kind === "quantity") return "0";
  if (type.kind === "model") return {};
  if (type.kind === "array") return [];
  return null;
}

function decodeQuantity(value: unknown): unknown {
  const canonical =
    typeof value === "string" || typeof value === "number" ? canonicalQuantity(value) : undefined;
  if (canonical === undefined) throw new Mismatch(QUANTITY_ERROR);
  return canonical;
}

const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/;

function checkScalar(type: TypeRef, value: unknown, place: Place): void {
  if (type.kind === "time" || type.kind === "micro-time") {
    if (typeof value !== "string") throw wrongType(value, place, "string");
    if (!TIME.test(value)) {
      throw new Mismatch(
        `parsing time ${JSON.stringify(value)} as "2006-01-02T15:04:05Z07:00": cannot parse ${JSON.stringify(value)} as "2006"`,
      );
    }
    return;
  }
  if (type.kind === "bytes") {
    checkBytes(value, place);
    return;
  }
  if (type.kind === "int-or-string") {
    if (typeof value === "string" || Number.isInteger(value)) return;
    throw wrongType(value, place, "int32");
  }
  if (type.kind === "integer") {
    if (!Number.isInteger(value)) throw wrongType(value, place, place.format || "int32");
    return;
  }
  const expected = type.kind === "number" ? "number" : type.kind === "boolean" ? "boolean" : "string";
  if (typeof value !== expected) throw wrongType(value, place, goType(type));
}

function checkBytes(value: unknown, place: Place): void {
  if (typeof value !== "string") throw wrongType(value, place, "[]uint8");
  const compact = value.replace(/[\r\n]/g, "");
  if (/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(compact)) return;
  const bad = /[^A-Za-z0-9+/]/.exec(compact)?.index ?? compact.length - (compact.length % 4);
  throw new Mismatch(`illegal base64 data at input byte ${bad}`);
}

function wrongType(value: unknown, place: Place, expected: string): Mismatch {
  const path = place.path.replace(/\[\d+\]/g, "");
  return new Mismatch(
    `json: cannot unmarshal ${jsonKind(value)} into Go struct field ${place.goName}.${path} of type ${expected}`,
  );
}

function jsonKind(value: unknown): string {
  if (Array.isArray(value)) return "array";
  if (typeof value === "boolean") return "bool";
  if (typeof value === "number" && !Number.isInteger(value)) return `number ${value}`;
  return typeof value;
}

function goTypeName(model: string): string {
  return model.replace(/^(?:[A-Z][a-z]+)?V\d+(?:(?:alpha|beta)\d+)?/, "");
}

function goType(type: TypeRef): string {
  if (type.kind === "array") return `[]${goType(type.items)}`;
  if (type.kind === "map") return `map[string]${goType(type.values)}`;
  if (type.kind === "model") return `v1.${goTypeName(type.name)}`;
  if (type.kind === "boolean") return "bool";
  if (type.kind === "integer") return "int32";
  if (type.kind === "number") return "float64";
  return "string";
}

function isObject(value: unknown): value is KubeObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
