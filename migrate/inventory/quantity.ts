// SPDX-License-Identifier: Apache-2.0

const factors: Record<string, number> = {
  "": 1,
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
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

const known = new Map<string, number>();

/** The number that a Kubernetes quantity (`250m`, `1Gi`, `1e3`) stands for; 0 for what is none. */
export function quantity(value: unknown): number {
  if (typeof value === "number") return value;
  if (typeof value !== "string") return 0;
  const before = known.get(value);
  if (before !== undefined) return before;
  const match = /^([+-]?[\d.]+(?:[eE][+-]?\d+)?)([a-zA-Z]{0,2})$/.exec(value);
  const number = match === null ? 0 : Number(match[1]) * (factors[match[2] ?? ""] ?? 0);
  const result = Number.isFinite(number) ? number : 0;
  if (known.size < 10_000) known.set(value, result);
  return result;
}
