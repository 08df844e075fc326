// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../resource.ts";

/** Fills in a structural schema's defaults. A null that the schema does not allow counts as unset. */
export function applySchemaDefaults(schema: KubeObject, value: unknown): void {
  if (Array.isArray(value)) {
    if (schema.items) for (const item of value) applySchemaDefaults(schema.items, item);
    return;
  }
  if (typeof value !== "object" || value === null) return;
  const object = value as KubeObject;
  for (const [key, child] of Object.entries<KubeObject>(schema.properties ?? {})) {
    if (object[key] === null && !child.nullable && child.default !== undefined) delete object[key];
    if (object[key] === undefined && child.default !== undefined)
      object[key] = structuredClone(child.default);
    if (object[key] !== undefined) applySchemaDefaults(child, object[key]);
  }
  if (typeof schema.additionalProperties !== "object") return;
  for (const [key, item] of Object.entries(object)) {
    if (!Object.hasOwn(schema.properties ?? {}, key)) applySchemaDefaults(schema.additionalProperties, item);
  }
}
