// SPDX-License-Identifier: Apache-2.0
// Decoding what a patch made, and refusing it in the words of the real server.
import type { Call } from "../api.ts";
import { fieldValidation, groupVersion } from "../api.ts";
import type { KubeObject, Resource } from "../resources/index.ts";
import { invalid, StatusError } from "../status.ts";

/**
 * Decodes a patched document in place. `shown` is what the real server quotes in a refusal: the whole document of
 * a JSON or merge patch, the patch itself of a strategic one. Throws a 422.
 */
export function decodePatched(call: Call, document: KubeObject, shown: () => string): void {
  const result = call.resource.decode?.(document);
  if (result === undefined) return;
  const refuse = (why: string): StatusError =>
    invalid({ group: "", kind: "" }, "", [
      {
        field: "patch",
        reason: "FieldValueInvalid",
        message: `Invalid value: ${JSON.stringify(shown())}: ${why}`,
      },
    ]);
  if (result.mismatch !== undefined) throw refuse(result.mismatch);
  const validation = fieldValidation(call);
  if (result.unknown.length === 0 || validation === "Ignore") return;
  if (validation === "Strict") throw refuse(`strict decoding error: ${result.unknown.join(", ")}`);
  call.warnings.push(...result.unknown);
}

/** Refuses fields of an applied configuration that its type does not have, whatever validation was asked for. */
export function decodeApplied(call: Call, config: KubeObject): void {
  const sent = structuredClone(config);
  const result = call.resource.decode?.(config);
  if (result === undefined) return;
  const { namespace = "", name = "" } = sent.metadata;
  const whole = `failed to create typed patch object (${namespace}/${name}; ${groupVersion(call.resource)}, Kind=${call.resource.kind})`;
  if (result.mismatch !== undefined) throw new StatusError(500, "", `${whole}: ${result.mismatch}`);
  const found = result.unknown.map((text) => {
    const path = /^unknown field "(.*)"$/.exec(text)?.[1] ?? text;
    return `${typedPath(call.resource, sent, path)}: field not declared in schema`;
  });
  if (found.length === 0) return;
  throw new StatusError(
    500,
    "",
    `${whole}: ${found.length === 1 ? found[0] : ["errors:", ...found].join("\n  ")}`,
  );
}

// `spec.containers[0].x` with the position as server-side apply names it: `.spec.containers[name="c"].x`.
function typedPath(resource: Resource, object: KubeObject, path: string): string {
  let value: any = object;
  let text = "";
  const fields: string[] = [];
  for (const [, field, index] of path.matchAll(/([^.[\]]+)|\[(\d+)\]/g)) {
    if (field !== undefined) {
      fields.push(field);
      value = value?.[field];
      text += `.${field}`;
      continue;
    }
    value = value?.[Number(index)];
    const keys = resource.mergeKey(fields)?.keys ?? [];
    const named = keys.filter((key) => value?.[key] !== undefined);
    text +=
      named.length === 0
        ? `[${index}]`
        : `[${named.map((key) => `${key}=${JSON.stringify(value[key])}`).join(",")}]`;
  }
  return text;
}

/** How Go prints a decoded JSON value with %+v, as refusals of strategic patches quote it. */
export function printGoValue(value: unknown): string {
  if (value === null || value === undefined) return "<nil>";
  if (Array.isArray(value)) return `[${value.map(printGoValue).join(" ")}]`;
  if (typeof value !== "object") return String(value);
  const entries = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return `map[${entries.map(([key, item]) => `${key}:${printGoValue(item)}`).join(" ")}]`;
}
