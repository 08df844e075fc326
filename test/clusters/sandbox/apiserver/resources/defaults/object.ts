// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../resource.ts";

/** Sets the fields that are unset. */
export function setDefaults(target: KubeObject | undefined, values: KubeObject): void {
  if (!target) return;
  for (const [key, value] of Object.entries(values)) {
    if (target[key] === undefined || target[key] === null) target[key] = structuredClone(value);
  }
}

/** Like setDefaults, also when the field holds an empty string. */
export function setNonEmpty(target: KubeObject | undefined, values: KubeObject): void {
  if (!target) return;
  for (const key of Object.keys(values)) if (target[key] === "") delete target[key];
  setDefaults(target, values);
}
