// SPDX-License-Identifier: Apache-2.0
import { createHash } from "node:crypto";
import type { KubeObject } from "../../../../lib/kube-object.ts";

/** The letters and digits that generated names use: no vowels, nothing that looks like something else. */
const alphabet = "bcdfghjklmnpqrstvwxz2456789";

/** JSON with sorted keys and without nulls and undefined, so that equal objects have equal text. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, part) =>
    part !== null && typeof part === "object" && !Array.isArray(part)
      ? Object.fromEntries(
          Object.entries(part)
            .filter(([, entry]) => entry !== null && entry !== undefined)
            .sort(([a], [b]) => (a < b ? -1 : 1)),
        )
      : part,
  );
}

/** A short hash of any value, fit for a label and a name. */
export function shortHash(value: unknown, length = 10): string {
  const digest = createHash("sha256").update(canonicalJson(value)).digest();
  return [...digest.subarray(0, length)].map((byte) => alphabet[byte % alphabet.length]).join("");
}

/** A pod template without one label, which its hash must not depend on. */
export function templateWithout(template: any, label: string): any {
  const { [label]: _, ...labels } = template.metadata?.labels ?? {};
  return { ...template, metadata: { ...template.metadata, labels } };
}

/** Whether two templates make the same pods, their hash labels aside. */
export function sameTemplate(a: any, b: any, label: string): boolean {
  return canonicalJson(templateWithout(a, label)) === canonicalJson(templateWithout(b, label));
}

/** A pod of a template, with the name prefix or name and owner given. */
export function podFromTemplate(template: any, metadata: KubeObject["metadata"]): KubeObject {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      ...metadata,
      labels: { ...template.metadata?.labels, ...metadata.labels },
      annotations: { ...template.metadata?.annotations, ...metadata.annotations },
      finalizers: [...(template.metadata?.finalizers ?? []), ...(metadata.finalizers ?? [])],
    },
    spec: structuredClone(template.spec),
  };
}

/** The number that "25%" or 3 means of a total. */
export function portionOf(
  value: number | string | undefined,
  total: number,
  round: "up" | "down",
  unset = 0,
): number {
  if (value === undefined || value === null) return unset;
  if (typeof value === "number") return value;
  if (!value.endsWith("%")) return Number(value);
  const exact = (Number(value.slice(0, -1)) * total) / 100;
  return round === "up" ? Math.ceil(exact) : Math.floor(exact);
}
