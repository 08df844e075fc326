// SPDX-License-Identifier: Apache-2.0
import { createHash } from "node:crypto";

/** On everything that a provider makes for a group: which group. */
export const groupLabel = "shunt.dev/node-group";

/** A group's name as the value of a label, which is shorter than a Migration's name may be. */
export function groupValue(group: string): string {
  if (group.length <= 63) return group;
  return `${group.slice(0, 40).replace(/[^a-z0-9]+$/, "")}-${createHash("sha256").update(group).digest("hex").slice(0, 16)}`;
}
