// SPDX-License-Identifier: Apache-2.0
import { readQuantity } from "../../../../lib/quantity.ts";

/** The thousandths that a quantity such as `100m`, `1.5Gi` or `1e3` means, rounded up; 0 for what is none. */
export function quantityMilli(value: string | number | undefined): number {
  const quantity = readQuantity(value ?? "");
  return quantity === undefined ? 0 : Math.ceil(quantity * 1_000 - 1e-6);
}
