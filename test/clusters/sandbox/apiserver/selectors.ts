// SPDX-License-Identifier: Apache-2.0
import { errorMessage } from "../../../../lib/errors.ts";
import { matchesRequirement, parseSelectorText, type Requirement } from "../../../../lib/label-selector.ts";
import { badRequest } from "./status.ts";

/** Parses `a=b,c!=d,e in (f,g),!h`. Throws a 400. */
export function parseLabelSelector(text: string): Requirement[] {
  try {
    return parseSelectorText(text);
  } catch (error) {
    throw badRequest(errorMessage(error));
  }
}

/** Whether these labels meet every requirement. */
export function matchesLabels(
  requirements: readonly Requirement[],
  labels: Record<string, string> | undefined,
): boolean {
  return requirements.every((one) => {
    const value = labels !== undefined && Object.hasOwn(labels, one.key) ? labels[one.key] : undefined;
    return matchesRequirement(value, one);
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
