// SPDX-License-Identifier: Apache-2.0
// Which pods policies are only audited for, where they are enforced: as their namespaces say.
import { errorMessage } from "../../lib/errors.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import { matchesRequirement, parseSelectorText, type Requirement } from "../../lib/label-selector.ts";

/** Of a Namespace: a selector of those of its pods that policies are only audited for; empty selects all. */
export const auditAnnotation = "shunt.dev/policy-audit";

/** What a Namespace says; undefined: nothing. Throws an Error when it cannot be read. */
export function auditedBy(namespace: KubeObject | undefined): Requirement[] | undefined {
  const text = namespace?.metadata.annotations?.[auditAnnotation];
  return text === undefined ? undefined : parseSelectorText(text);
}

/** Whether a pod is only audited. What cannot be read audits nobody. */
export function isAudited(pod: KubeObject, namespace: KubeObject | undefined): boolean {
  if (auditProblem(namespace) !== undefined) return false;
  const labels = new Map(Object.entries(pod.metadata.labels ?? {}));
  return auditedBy(namespace)?.every((one) => matchesRequirement(labels.get(one.key), one)) ?? false;
}

/** Why a Namespace's annotation cannot be used. */
export function auditProblem(namespace: KubeObject | undefined): string | undefined {
  try {
    auditedBy(namespace);
    return undefined;
  } catch (error) {
    return `${auditAnnotation} is no selector, so that all its pods are judged: ${errorMessage(error)}`;
  }
}
