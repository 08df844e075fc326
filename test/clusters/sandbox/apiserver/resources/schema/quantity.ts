// SPDX-License-Identifier: Apache-2.0

const QUANTITY = /^([+-]?)(\d+\.?\d*|\.\d+)(?:(Ki|Mi|Gi|Ti|Pi|Ei)|(n|u|m|k|M|G|T|P|E)|[eE]([+-]?\d+))?$/;
const BINARY = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
const DECIMAL: [suffix: string, exponent: number][] = [
  ["E", 18],
  ["P", 15],
  ["T", 12],
  ["G", 9],
  ["M", 6],
  ["k", 3],
  ["", 0],
  ["m", -3],
  ["u", -6],
  ["n", -9],
];
const NANO = 1_000_000_000n;

/** The error text the API gives for a quantity it cannot read. */
export const QUANTITY_ERROR =
  "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

interface ParsedQuantity {
  nanos: bigint;
  form: "binary" | "decimal" | "exponent";
}

function parse(text: string): ParsedQuantity | undefined {
  const match = QUANTITY.exec(text);
  if (!match) return undefined;
  const [, sign, digits = "", binary, decimal, exponent] = match;
  if (exponent && Math.abs(Number(exponent)) > 30) return undefined;
  const [whole = "", fraction = ""] = digits.split(".");
  const power = decimalPower(decimal, exponent);
  let nanos = BigInt(whole + fraction) * NANO;
  if (binary) nanos *= 1024n ** BigInt(BINARY.indexOf(binary));
  const shift = power - fraction.length;
  nanos = shift >= 0 ? nanos * 10n ** BigInt(shift) : ceilDiv(nanos, 10n ** BigInt(-shift));
  const form = binary ? "binary" : exponent ? "exponent" : "decimal";
  return { nanos: sign === "-" ? -nanos : nanos, form };
}

function decimalPower(suffix: string | undefined, exponent: string | undefined): number {
  if (exponent) return Number(exponent);
  return DECIMAL.find(([name]) => name === (suffix ?? ""))?.[1] ?? 0;
}

function ceilDiv(value: bigint, by: bigint): bigint {
  return (value + by - 1n) / by;
}

/** The value of a quantity in billionths of its unit, or undefined when it is none. */
export function quantityNanos(text: string | number): bigint | undefined {
  return parse(String(text).trim())?.nanos;
}

/** The form the API stores ("0.5" is "500m"), or undefined when the text is no quantity. */
export function canonicalQuantity(text: string | number): string | undefined {
  const quantity = parse(String(text).trim());
  if (!quantity) return undefined;
  const { nanos, form } = quantity;
  const magnitude = nanos < 0n ? -nanos : nanos;
  const sign = nanos < 0n ? "-" : "";
  if (magnitude === 0n) return "0";
  if (form === "binary" && magnitude % NANO === 0n && magnitude >= 1024n * NANO) {
    return sign + binaryForm(magnitude / NANO);
  }
  for (const [suffix, exponent] of DECIMAL) {
    const unit = exponent >= 0 ? NANO * 10n ** BigInt(exponent) : NANO / 10n ** BigInt(-exponent);
    if (magnitude % unit !== 0n) continue;
    if (form === "exponent") return `${sign}${magnitude / unit}${exponent ? `e${exponent}` : ""}`;
    return `${sign}${magnitude / unit}${suffix}`;
  }
  return undefined;
}

function binaryForm(value: bigint): string {
  let rest = value;
  let index = 0;
  while (rest % 1024n === 0n && index < BINARY.length - 1) {
    rest /= 1024n;
    index++;
  }
  return `${rest}${BINARY[index]}`;
}
