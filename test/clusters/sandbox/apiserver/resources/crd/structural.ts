// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../resource.ts";

const ROOT_FIELDS = ["apiVersion", "kind", "metadata"];

/** Removes what a structural schema does not name and tells it: `unknown field "spec.foo"`. */
export function prune(schema: KubeObject, value: unknown, path: string, isRoot = false): string[] {
  if (Array.isArray(value)) {
    const items = schema.items;
    if (!items) return [];
    return value.flatMap((item, index) => prune(items, item, `${path}[${index}]`));
  }
  if (typeof value !== "object" || value === null) return [];
  const unknown: string[] = [];
  const object = value as KubeObject;
  const keep = schema["x-kubernetes-preserve-unknown-fields"] === true;
  const embedded = isRoot || schema["x-kubernetes-embedded-resource"] === true;
  for (const key of Object.keys(object)) {
    if (embedded && ROOT_FIELDS.includes(key)) continue;
    const child = childSchema(schema, key);
    const at = path ? `${path}.${key}` : key;
    if (child === true) continue;
    if (child) unknown.push(...prune(child, object[key], at));
    else if (!keep) {
      unknown.push(`unknown field "${at}"`);
      delete object[key];
    }
  }
  return unknown;
}

function childSchema(schema: KubeObject, key: string): KubeObject | true | undefined {
  if (Object.hasOwn(schema.properties ?? {}, key)) return schema.properties[key];
  const additional = schema.additionalProperties;
  return typeof additional === "boolean" ? additional || undefined : additional;
}
