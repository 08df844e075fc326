// SPDX-License-Identifier: Apache-2.0
import { ShuntError } from "../../../../lib/errors.ts";

const factors: Record<string, number> = {
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  "": 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
};

/** Reads a Kubernetes quantity (`250m`, `1Gi`, `1e3`) as a number of base units (cores, bytes, pieces). */
export function parseQuantity(text: string | number): number {
  const match = /^([+-]?(?:\d+\.?\d*|\.\d+))(?:([numkMGTPE]i?|[KMGTPE]i)|[eE]([+-]?\d+))?$/.exec(
    String(text),
  );
  const factor = match === null ? undefined : factors[match[2] ?? ""];
  if (match === null || factor === undefined)
    throw new ShuntError(`"${text}" is not a quantity`, { code: "BadQuantity" });
  return Number(match[1]) * factor * 10 ** Number(match[3] ?? 0);
}

/** The same as thousandths, rounded up: millicores of a CPU quantity. */
export function parseMilli(text: string | number): number {
  return Math.ceil(Number((parseQuantity(text) * 1000).toFixed(6)));
}

/** The same as whole units, rounded up: bytes of a memory quantity. */
export function parseWhole(text: string | number): number {
  return Math.ceil(Number(parseQuantity(text).toFixed(6)));
}
