// SPDX-License-Identifier: Apache-2.0

/** A selector of the Kubernetes API (meta/v1 LabelSelector). */
export interface LabelSelector {
  matchLabels?: Record<string, string>;
  matchExpressions?: Requirement[];
}

/** Whether every pair of `wanted` is among `labels`. */
export function matchesLabels(
  wanted: Record<string, string> | undefined | null,
  labels: Record<string, string> | undefined,
): boolean {
  for (const [key, value] of Object.entries(wanted ?? {})) if (labels?.[key] !== value) return false;
  return true;
}

/** One requirement of a selector, on the value of its key. */
export interface Requirement {
  key: string;
  operator: string;
  values?: string[];
}

/** Whether a value (undefined: there is none) meets a requirement; an unknown operator is never met. */
export function matchesRequirement(
  value: string | undefined,
  { operator, values = [] }: Requirement,
): boolean {
  switch (operator) {
    case "In":
      return value !== undefined && values.includes(value);
    case "NotIn":
      return value === undefined || !values.includes(value);
    case "Exists":
      return value !== undefined;
    case "DoesNotExist":
      return value === undefined;
    default:
      return false;
  }
}

/** Whether a selector selects these labels: undefined selects nothing, an empty one everything. */
export function matchesSelector(
  selector: LabelSelector | undefined | null,
  labels: Record<string, string> | undefined,
): boolean {
  if (selector === undefined || selector === null) return false;
  if (!matchesLabels(selector.matchLabels, labels)) return false;
  return (selector.matchExpressions ?? []).every((entry) => matchesRequirement(labels?.[entry.key], entry));
}

/** Whether a selector names nothing, and so selects everything. */
export function isEmptySelector(selector: LabelSelector | undefined | null): boolean {
  return (
    Object.keys(selector?.matchLabels ?? {}).length === 0 && (selector?.matchExpressions ?? []).length === 0
  );
}
