// SPDX-License-Identifier: Apache-2.0
import { createHash } from "node:crypto";

/** Sixteen hexadecimal digits that are the same for the same set of names, in whatever order. */
export function fingerprint(names: Iterable<string>): string {
  return createHash("sha256")
    .update([...names].toSorted().join("\n"))
    .digest("hex")
    .slice(0, 16);
}
