// SPDX-License-Identifier: Apache-2.0
import { createHash } from "node:crypto";

/** A rule with Felix's mark, a hash in a comment, in the place of `%`. */
export function marked(chain: string, rule: string): string {
  const hash = createHash("sha256").update(`${chain} ${rule}`).digest("base64url").slice(0, 16);
  return rule.replace("%", `-m comment --comment "cali:${hash}"`);
}

/** Rules of a chain, marked. */
export function chainOf(chain: string, rules: readonly string[]): Record<string, string[]> {
  return { [chain]: rules.map((rule) => marked(chain, rule)) };
}

/** A comment for people. */
export function says(text: string): string {
  return `-m comment --comment "${text}"`;
}
