// SPDX-License-Identifier: Apache-2.0
import { readQuantity } from "../../lib/quantity.ts";

const known = new Map<string, number>();

/** The number that a Kubernetes quantity stands for; 0 for what is none. A large cluster has few different ones. */
export function quantity(value: unknown): number {
  if (typeof value === "number") return value;
  if (typeof value !== "string") return 0;
  const before = known.get(value);
  if (before !== undefined) return before;
  const read = readQuantity(value) ?? 0;
  const result = Number.isFinite(read) ? read : 0;
  if (known.size < 10_000) known.set(value, result);
  return result;
}
