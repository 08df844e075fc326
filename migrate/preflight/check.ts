// SPDX-License-Identifier: Apache-2.0
import type { InventoryDetails, Sample } from "../inventory/details.ts";
import type { Finding, Inventory, Severity } from "../model/inventory.ts";
import type { Strategy } from "../model/plan.ts";

/** What is going to be done, as far as it decides what stands in the way. */
export interface PreflightOptions {
  strategy?: Strategy;
  /** Findings (by id) that the operator takes upon himself: they warn instead of blocking. */
  accept?: readonly string[];
  tunnelPort?: number;
  /** Bytes; 0: the uplink's less what the tunnel adds. */
  mtu?: number;
  routing?: "vxlan" | "direct";
  /** Drain pods that no controller makes anew. */
  drainForce?: boolean;
  drainDeleteEmptyDirData?: boolean;
  /** What the agent does about policies. */
  policy?: "off" | "audit" | "enforce";
}

export interface CheckContext {
  inventory: Inventory;
  details: InventoryDetails;
  options: Required<PreflightOptions>;
  /** The pods' network is replaced, not only kube-proxy. */
  movesPods: boolean;
  /** Nodes are switched where they are, with both networks on them. */
  inPlace: boolean;
}

/** Looks at one thing and says what it found; nothing when all is well. */
export type Check = (context: CheckContext) => Finding[];

type Words = Omit<Finding, "severity">;

export const block = (words: Words): Finding => ({ severity: "block", ...words });
export const warn = (words: Words): Finding => ({ severity: "warn", ...words });
export const info = (words: Words): Finding => ({ severity: "info", ...words });
export const finding = (severity: Severity, words: Words): Finding => ({ severity, ...words });

const shown = 3;

/** `3 pods (a, b, c)`, `120 pods (a, b, c …)`. */
export function named({ count, first }: Sample, singular: string, plural = `${singular}s`): string {
  const names = first.slice(0, shown).join(", ");
  return `${count} ${count === 1 ? singular : plural} (${names}${count > shown ? " …" : ""})`;
}

/** The same for a list. */
export const namedList = (list: readonly string[], singular: string, plural?: string): string =>
  named({ count: list.length, first: [...list] }, singular, plural);

const most = 40;

/** One finding an object, and when there are very many, the rest in one: a list that nobody reads says nothing. */
export function limited(findings: Finding[]): Finding[] {
  const rest = findings.slice(most);
  const [sample] = rest;
  if (sample === undefined) return findings;
  return [
    ...findings.slice(0, most),
    {
      ...sample,
      object: "cluster",
      problem: `${rest.length} more objects with the same finding, for example ${sample.object}`,
    },
  ];
}
