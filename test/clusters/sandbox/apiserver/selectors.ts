// SPDX-License-Identifier: Apache-2.0
import { badRequest } from "./status.ts";

/** One requirement of a label selector. */
export interface LabelRequirement {
  key: string;
  operator: "in" | "notin" | "exists" | "!" | "gt" | "lt";
  values: string[];
}

/** Parses `a=b,c!=d,e in (f,g),!h`. Throws a 400. */
export function parseLabelSelector(text: string): LabelRequirement[] {
  const requirements: LabelRequirement[] = [];
  let rest = text.trim();
  while (rest !== "") {
    const match =
      /^(?<key>[\w./-]+)\s+(?<set>in|notin)\s*\((?<values>[^()]*)\)/.exec(rest) ??
      /^(?<key>[\w./-]+)\s*(?<op>==|=|!=|>|<)\s*(?<value>[\w.-]*)/.exec(rest) ??
      /^(?<not>!?)\s*(?<key>[\w./-]+)/.exec(rest);
    if (match?.groups === undefined) throw badRequest(`unable to parse requirement: found '${rest}'`);
    requirements.push(requirementOf(match.groups));
    rest = rest.slice(match[0].length).trim();
    if (rest === "") break;
    if (!rest.startsWith(",") || rest.slice(1).trim() === "")
      throw badRequest(`unable to parse requirement: found '${rest}', expected: ',' or 'end of string'`);
    rest = rest.slice(1).trim();
  }
  return requirements;
}

function requirementOf(groups: Record<string, string | undefined>): LabelRequirement {
  const key = groups.key!;
  if (groups.set !== undefined)
    return {
      key,
      operator: groups.set as "in" | "notin",
      values: groups.values!.split(",").map((value) => value.trim()),
    };
  if (groups.op === undefined) return { key, operator: groups.not === "!" ? "!" : "exists", values: [] };
  const operators = { "=": "in", "==": "in", "!=": "notin", ">": "gt", "<": "lt" } as const;
  return { key, operator: operators[groups.op as keyof typeof operators], values: [groups.value ?? ""] };
}

/** Whether these labels meet every requirement. */
export function matchesLabels(
  requirements: readonly LabelRequirement[],
  labels: Record<string, string> | undefined,
): boolean {
  return requirements.every(({ key, operator, values }) => {
    const value = labels !== undefined && Object.hasOwn(labels, key) ? labels[key] : undefined;
    if (operator === "in") return value !== undefined && values.includes(value);
    if (operator === "notin") return value === undefined || !values.includes(value);
    if (operator === "exists") return value !== undefined;
    if (operator === "!") return value === undefined;
    if (value === undefined || !/^-?\d+$/.test(value)) return false;
    return operator === "gt" ? Number(value) > Number(values[0]) : Number(value) < Number(values[0]);
  });
}

/** One requirement of a field selector. */
export interface FieldRequirement {
  field: string;
  equal: boolean;
  value: string;
}

/** Parses `metadata.name=a,status.phase!=Running`. Throws a 400. */
export function parseFieldSelector(text: string): FieldRequirement[] {
  return text
    .split(/(?<!\\),/)
    .filter((term) => term !== "")
    .map((term) => {
      const match = /^(?<field>[^=!]+?)\s*(?<op>!=|==|=)(?<value>.*)$/.exec(term);
      if (match?.groups === undefined)
        throw badRequest(`invalid selector: '${term}'; can't understand '${term}'`);
      const { field, op, value } = match.groups;
      return { field: field!, equal: op !== "!=", value: value!.replaceAll(/\\([\\,=])/g, "$1") };
    });
}

/** Whether these fields meet every requirement. Throws a 400 for a field that the kind does not offer. */
export function matchesFields(
  requirements: readonly FieldRequirement[],
  fields: Record<string, string>,
): boolean {
  return requirements.every(({ field, equal, value }) => {
    if (!Object.hasOwn(fields, field)) throw badRequest(`field label not supported: ${field}`);
    return (fields[field] === value) === equal;
  });
}
