// SPDX-License-Identifier: Apache-2.0
import { matchesRequirement } from "../../lib/label-selector.ts";
import type { Labels, Path, Problem, Requirement, Selector } from "./model.ts";

/** Keys under which identities carry what is not a label of the pod itself. */
export const labelKeys = {
  namespace: "k8s:io.kubernetes.pod.namespace",
  /** Followed by the key of a label of the pod's namespace. */
  ofNamespace: "k8s:io.cilium.k8s.namespace.labels.",
  serviceAccount: "k8s:io.cilium.k8s.policy.serviceaccount",
  cluster: "k8s:io.cilium.k8s.policy.cluster",
} as const;

/** Whether labels meet every requirement. */
export function selects(selector: Selector, labels: Labels): boolean {
  return selector.every((one) =>
    matchesRequirement(valueUnder(one.key, labels), { ...one, values: [...one.values] }),
  );
}

function valueUnder(key: string, labels: Labels): string | undefined {
  if (!key.startsWith("any:")) return labels.get(key);
  const name = key.slice("any:".length);
  for (const source of ["k8s:", "reserved:", "cidr:"]) {
    const value = labels.get(source + name);
    if (value !== undefined) return value;
  }
  return undefined;
}

export const isOne = (key: string, value: string): Requirement => ({ key, operator: "In", values: [value] });
export const exists = (key: string): Requirement => ({ key, operator: "Exists", values: [] });
/** Every pod, and nothing else. */
export const anyPod: Requirement = exists(labelKeys.namespace);

/** How a kind of object writes its keys: the full key of a label. */
export type KeyOf = (key: string) => string;

const namePattern = /^([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)$/;
const prefixPattern = /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/;
const operators = ["In", "NotIn", "Exists", "DoesNotExist"] as const;

/** Why a text is no label key (Kubernetes: Labels and Selectors), or undefined. */
function keyProblem(key: string): string | undefined {
  const [name, prefix] = key.split("/").toReversed() as [string, string?];
  if (key.split("/").length > 2) return `"${key}" is no label key: it has more than one "/"`;
  if (prefix !== undefined && !prefixPattern.test(prefix))
    return `"${key}" is no label key: "${prefix}" is no DNS name`;
  return namePattern.test(name)
    ? undefined
    : `"${key}" is no label key: "${name}" is no name of at most 63 letters, digits, "-", "_" and "."`;
}

const valueProblem = (value: string): string | undefined =>
  value === "" || namePattern.test(value) ? undefined : `"${value}" is no label value`;

/**
 * Reads a selector as the API has it (matchLabels, matchExpressions), whose shape is checked already. What is wrong with
 * its contents goes to `problems`.
 */
export function readSelector(raw: any, keyOf: KeyOf, path: Path, problems: Problem[]): Requirement[] {
  const found: Requirement[] = [];
  const check = (problem: string | undefined, at: Path): void => {
    if (problem !== undefined) problems.push({ path: at, message: problem });
  };
  const bare = (key: string): string => key.replace(/^[a-z0-9]+:/, "");
  for (const [key, value] of Object.entries<string>(raw?.matchLabels ?? {})) {
    check(keyProblem(bare(key)), [...path, "matchLabels", key]);
    check(valueProblem(value), [...path, "matchLabels", key]);
    found.push({ key: keyOf(key), operator: "In", values: [value] });
  }
  for (const [index, { key, operator, values = [] }] of (raw?.matchExpressions ?? []).entries()) {
    const at = [...path, "matchExpressions", index];
    check(keyProblem(bare(key)), [...at, "key"]);
    if (!operators.includes(operator)) {
      check(`"${operator}" is none of ${operators.join(", ")}`, [...at, "operator"]);
      continue;
    }
    const needsValues = operator === "In" || operator === "NotIn";
    if (needsValues && values.length === 0) check(`${operator} needs values`, [...at, "values"]);
    if (!needsValues && values.length > 0) check(`${operator} takes no values`, [...at, "values"]);
    for (const [place, value] of values.entries()) check(valueProblem(value), [...at, "values", place]);
    found.push({ key: keyOf(key), operator, values });
  }
  return found;
}
