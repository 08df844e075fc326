// SPDX-License-Identifier: Apache-2.0
const factors: Record<string, number> = {
  "": 1_000,
  n: 1e-6,
  u: 1e-3,
  m: 1,
  k: 1e6,
  M: 1e9,
  G: 1e12,
  T: 1e15,
  P: 1e18,
  E: 1e21,
  Ki: 1_000 * 2 ** 10,
  Mi: 1_000 * 2 ** 20,
  Gi: 1_000 * 2 ** 30,
  Ti: 1_000 * 2 ** 40,
  Pi: 1_000 * 2 ** 50,
  Ei: 1_000 * 2 ** 60,
};

/** The thousandths that a quantity such as `100m`, `1.5Gi` or `1e3` means, rounded up; 0 for what is none. */
export function quantityMilli(value: string | number | undefined): number {
  if (typeof value === "number") return Math.ceil(value * 1_000);
  const match = /^([+-]?(?:\d+\.?\d*|\.\d+))(?:[eE]([+-]?\d+)|([numkMGTPE]|[KMGTPE]i)?)$/.exec(value ?? "");
  if (match === null) return 0;
  const exponent = match[2] === undefined ? 1 : 10 ** Number(match[2]);
  return Math.ceil(Number(match[1]) * exponent * factors[match[3] ?? ""]! - 1e-6);
}
