// SPDX-License-Identifier: Apache-2.0
export { type FullInventory, type InventoryOptions, readInventory } from "./read.ts";
