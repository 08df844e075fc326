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
    case "Gt":
      return isNumber(value) && Number(value) > Number(values[0]);
    case "Lt":
      return isNumber(value) && Number(value) < Number(values[0]);
    default:
      return false;
  }
}

const isNumber = (value: string | undefined): value is string => value !== undefined && /^-?\d+$/.test(value);

/** Reads a selector as kubectl takes it: `a=b,c!=d,e in (f,g),!h`. Throws an Error that says where it cannot be read. */
export function parseSelectorText(text: string): Requirement[] {
  const requirements: Requirement[] = [];
  let rest = text.trim();
  while (rest !== "") {
    const match =
      /^(?<key>[\w./-]+)\s+(?<set>in|notin)\s*\((?<values>[^()]*)\)/.exec(rest) ??
      /^(?<key>[\w./-]+)\s*(?<op>==|=|!=|>|<)\s*(?<value>[\w.-]*)/.exec(rest) ??
      /^(?<not>!?)\s*(?<key>[\w./-]+)/.exec(rest);
    if (match?.groups === undefined) throw new Error(`unable to parse requirement: found '${rest}'`);
    requirements.push(requirementOf(match.groups));
    rest = rest.slice(match[0].length).trim();
    if (rest === "") break;
    if (!rest.startsWith(",") || rest.slice(1).trim() === "")
      throw new Error(`unable to parse requirement: found '${rest}', expected: ',' or 'end of string'`);
    rest = rest.slice(1).trim();
  }
  return requirements;
}

function requirementOf(groups: Record<string, string | undefined>): Requirement {
  const key = groups.key!;
  if (groups.set !== undefined)
    return {
      key,
      operator: groups.set === "in" ? "In" : "NotIn",
      values: groups.values!.split(",").map((value) => value.trim()),
    };
  if (groups.op === undefined) return { key, operator: groups.not === "!" ? "DoesNotExist" : "Exists" };
  const operators = { "=": "In", "==": "In", "!=": "NotIn", ">": "Gt", "<": "Lt" } as const;
  return { key, operator: operators[groups.op as keyof typeof operators], values: [groups.value ?? ""] };
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
