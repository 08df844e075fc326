// SPDX-License-Identifier: Apache-2.0
// Field errors in the words of apimachinery's `field` package.
import { type FieldError, Refusal } from "./resource.ts";

/** A value that is not allowed; the value is printed as Go prints it. */
export function invalidValue(field: string, value: unknown, detail: string): FieldError {
  return { field, reason: "FieldValueInvalid", message: `Invalid value: ${printValue(value)}: ${detail}` };
}

/** A field that must be set. */
export function required(field: string, detail = ""): FieldError {
  return {
    field,
    reason: "FieldValueRequired",
    message: detail ? `Required value: ${detail}` : "Required value",
  };
}

/** A value that another item already has. */
export function duplicate(field: string, value: unknown): FieldError {
  return { field, reason: "FieldValueDuplicate", message: `Duplicate value: ${printValue(value)}` };
}

/** A value outside an enumeration. */
export function notSupported(field: string, value: unknown, allowed: readonly string[]): FieldError {
  const list = allowed.map((item) => JSON.stringify(item)).join(", ");
  return {
    field,
    reason: "FieldValueNotSupported",
    message: `Unsupported value: ${printValue(value)}: supported values: ${list}`,
  };
}

/** A field that must not be set here. */
export function forbidden(field: string, detail: string): FieldError {
  return { field, reason: "FieldValueForbidden", message: `Forbidden: ${detail}` };
}

/** Something named that does not exist. */
export function notFound(field: string, value: unknown): FieldError {
  return { field, reason: "FieldValueNotFound", message: `Not found: ${printValue(value)}` };
}

function printValue(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (Array.isArray(value) && value.every((item) => typeof item === "string")) {
    return `[]string{${value.map((item) => JSON.stringify(item)).join(", ")}}`;
  }
  if (typeof value !== "object" || value === null) return String(value);
  return printObject(value as Record<string, unknown>);
}

function printMap(map: Record<string, unknown>): string {
  const pairs = Object.entries(map).map(([key, item]) => `${JSON.stringify(key)}:${JSON.stringify(item)}`);
  return `map[string]string{${pairs.join(", ")}}`;
}

// Go prints the two kinds of values people see most, label maps and selectors, with their types.
function printObject(value: Record<string, unknown>): string {
  const keys = Object.keys(value);
  if (keys.length === 0) return "map[string]string(nil)";
  const isSelector =
    keys.length > 0 && keys.every((key) => key === "matchLabels" || key === "matchExpressions");
  if (isSelector && !value.matchExpressions) {
    const labels = printMap((value.matchLabels ?? {}) as Record<string, unknown>);
    return `v1.LabelSelector{MatchLabels:${labels}, MatchExpressions:[]v1.LabelSelectorRequirement(nil)}`;
  }
  if (keys.sort().join() === "apiGroup,kind,name") {
    const [group, kind, name] = [value.apiGroup, value.kind, value.name].map((item) => JSON.stringify(item));
    return `rbac.RoleRef{APIGroup:${group}, Kind:${kind}, Name:${name}}`;
  }
  const isMap = keys.length > 0 && Object.values(value).every((item) => typeof item === "string");
  return isMap ? printMap(value) : JSON.stringify(value);
}

/** The 422 the API answers with: `Deployment.apps "x" is invalid: spec.selector: Required value`. */
export function invalid(kind: string, group: string, name: string, errors: FieldError[]): Refusal {
  const qualified = group ? `${kind}.${group}` : kind;
  const texts = [...new Set(errors.map((error) => `${error.field}: ${error.message}`))];
  const detail = texts.length === 1 ? texts[0] : `[${texts.join(", ")}]`;
  return new Refusal(422, "Invalid", `${qualified} ${JSON.stringify(name)} is invalid: ${detail}`, errors);
}

/** The 403 of an admission plugin: `pods "x" is forbidden: why`. */
export function refuse(plural: string, group: string, name: string, why: string): Refusal {
  const qualified = group ? `${plural}.${group}` : plural;
  return new Refusal(403, "Forbidden", `${qualified} ${JSON.stringify(name)} is forbidden: ${why}`);
}
