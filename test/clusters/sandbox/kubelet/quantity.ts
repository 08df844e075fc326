// SPDX-License-Identifier: Apache-2.0
import { ShuntError } from "../../../../lib/errors.ts";
import { readQuantity } from "../../../../lib/quantity.ts";

/** Reads a Kubernetes quantity (`250m`, `1Gi`, `1e3`) as a number of base units (cores, bytes, pieces). */
export function parseQuantity(text: string | number): number {
  const quantity = readQuantity(text);
  if (quantity === undefined) throw new ShuntError(`"${text}" is not a quantity`, { code: "BadQuantity" });
  return quantity;
}

/** The same as thousandths, rounded up: millicores of a CPU quantity. */
export function parseMilli(text: string | number): number {
  return Math.ceil(Number((parseQuantity(text) * 1000).toFixed(6)));
}

/** The same as whole units, rounded up: bytes of a memory quantity. */
export function parseWhole(text: string | number): number {
  return Math.ceil(Number(parseQuantity(text).toFixed(6)));
}
