// SPDX-License-Identifier: Apache-2.0
// Reads the Kubernetes API's types from @kubernetes/client-node's generated models. Their declaration
// files are the one place in our dependencies with every field's type, description and whether it is
// required; the classes themselves know only the types.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { QUANTITY_FIELDS } from "./quantity-fields.ts";

/** The type of a field. */
export type TypeRef =
  | { kind: "string" | "integer" | "number" | "boolean" | "int-or-string" | "quantity" | "any" | "bytes" }
  | { kind: "time" | "micro-time" }
  | { kind: "array"; items: TypeRef }
  | { kind: "map"; values: TypeRef }
  | { kind: "model"; name: string };

/** One field of a model. */
export interface Property {
  name: string;
  type: TypeRef;
  /** `int32`, `int64`, `double` or empty. */
  format: string;
  required: boolean;
  description: string;
}

/** One type of the Kubernetes API. */
export interface Model {
  name: string;
  description: string;
  properties: Map<string, Property>;
}

const modelFolder = join(
  dirname(createRequire(import.meta.url).resolve("@kubernetes/client-node/package.json")),
  "dist/gen/models",
);

const cache = new Map<string, Model>();

/** The model of this name, such as `V1Pod`; throws when the client library has none. */
export function loadModel(name: string): Model {
  const known = cache.get(name);
  if (known) return known;
  const declaration = readFileSync(join(modelFolder, `${name}.d.ts`), "utf8");
  const source = readFileSync(join(modelFolder, `${name}.js`), "utf8");
  const model = parseModel(name, source, declaration);
  cache.set(name, model);
  return model;
}

const ATTRIBUTE = /"name": "([^"]+)",\s*"baseName": "([^"]+)",\s*"type": "([^"]+)",\s*"format": "([^"]*)"/g;
const CLASS_COMMENT = /\/\*\*\n((?:\*[^\n]*\n)*?)\*\/\nexport declare class/;
const DECLARED = /(?: {4}\/\*\*\n((?: {4}\*(?!\/)[^\n]*\n)*) {4}\*\/\n)? {4}'([^']+)'(\??):/g;

function parseModel(name: string, source: string, declaration: string): Model {
  const declared = new Map([...declaration.matchAll(DECLARED)].map((match) => [match[2], match]));
  const properties = new Map<string, Property>();
  for (const [, attribute, baseName = "", typeText = "", format = ""] of source.matchAll(ATTRIBUTE)) {
    const [, comment = "", , optional] = declared.get(attribute) ?? [];
    properties.set(baseName, {
      name: baseName,
      type: parseType(typeText, format, QUANTITY_FIELDS.has(`${name}.${baseName}`)),
      format,
      required: optional !== "?",
      description: cleanComment(comment),
    });
  }
  return { name, description: cleanComment(CLASS_COMMENT.exec(declaration)?.[1] ?? ""), properties };
}

function cleanComment(comment: string): string {
  return comment
    .split("\n")
    .map((line) => line.trim().replace(/^\* ?/, ""))
    .join("\n")
    .trim()
    .replaceAll("\\'", "'")
    .replaceAll('\\"', '"');
}

const PRIMITIVES: Record<string, TypeRef> = {
  string: { kind: "string" },
  boolean: { kind: "boolean" },
  any: { kind: "any" },
  object: { kind: "any" },
  Date: { kind: "time" },
  V1MicroTime: { kind: "micro-time" },
  IntOrString: { kind: "int-or-string" },
};

function parseType(text: string, format: string, quantity: boolean): TypeRef {
  const trimmed = text.trim();
  const list = /^Array<(.*)>$/s.exec(trimmed);
  if (list) return { kind: "array", items: parseType(list[1] ?? "", format, quantity) };
  const map = /^\{\s*\[key: string\]: (.*?);?\s*\}$/s.exec(trimmed);
  if (map) return { kind: "map", values: parseType(map[1] ?? "", format, quantity) };
  if (quantity && trimmed === "string") return { kind: "quantity" };
  if (format === "byte" && trimmed === "string") return { kind: "bytes" };
  if (trimmed === "number") return { kind: format.startsWith("int") ? "integer" : "number" };
  if (trimmed === "Date" && format === "date-time-micro") return { kind: "micro-time" };
  return PRIMITIVES[trimmed] ?? { kind: "model", name: trimmed };
}
