// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../resource.ts";
import { quantityNanos } from "../schema/quantity.ts";

const COMPUTE = ["cpu", "memory"];

function positive(list: KubeObject | undefined, resource: string): bigint | undefined {
  const value = list?.[resource];
  const nanos = value === undefined ? undefined : quantityNanos(value);
  return nanos !== undefined && nanos > 0n ? nanos : undefined;
}

/** Guaranteed, Burstable or BestEffort: from the containers' requests and limits. */
export function qosClass(spec: KubeObject): string {
  const containers = [...(spec.containers ?? []), ...(spec.initContainers ?? [])];
  let any = false;
  let guaranteed = containers.length > 0;
  for (const container of containers) {
    for (const resource of COMPUTE) {
      const request = positive(container.resources?.requests, resource);
      const limit = positive(container.resources?.limits, resource);
      if (request !== undefined || limit !== undefined) any = true;
      if (limit === undefined || (request !== undefined && request !== limit)) guaranteed = false;
    }
  }
  if (!any) return "BestEffort";
  return guaranteed ? "Guaranteed" : "Burstable";
}
