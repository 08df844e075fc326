// SPDX-License-Identifier: Apache-2.0
import { refuse } from "../field-errors.ts";
import type { KubeObject, PrepareContext } from "../resource.ts";
import { quantityNanos } from "../schema/quantity.ts";

/** Gives a new pod's containers the namespace's default requests and limits, and enforces its bounds. */
export function applyLimitRanges({ object: pod, store }: PrepareContext): void {
  const containers: KubeObject[] = [...(pod.spec.initContainers ?? []), ...(pod.spec.containers ?? [])];
  for (const range of store.list("", "limitranges", pod.metadata.namespace)) {
    for (const item of range.spec?.limits ?? []) {
      if (item.type !== "Container") continue;
      for (const container of containers) {
        fill(container, "limits", item.default);
        fill(container, "requests", item.defaultRequest);
        checkBounds(pod, container, item);
      }
    }
  }
}

function fill(container: KubeObject, field: "limits" | "requests", defaults: KubeObject | undefined): void {
  if (!defaults) return;
  container.resources ??= {};
  container.resources[field] = { ...defaults, ...container.resources[field] };
}

function checkBounds(pod: KubeObject, container: KubeObject, item: KubeObject): void {
  const { limits = {}, requests = {} } = container.resources ?? {};
  for (const [resource, maximum] of Object.entries<string>(item.max ?? {})) {
    const limit = limits[resource];
    if (limit === undefined) {
      throw refuse(
        "pods",
        "",
        pod.metadata.name ?? "",
        `maximum ${resource} usage per Container is ${maximum}.  No limit is specified`,
      );
    }
    if ((quantityNanos(limit) ?? 0n) > (quantityNanos(maximum) ?? 0n)) {
      throw refuse(
        "pods",
        "",
        pod.metadata.name ?? "",
        `maximum ${resource} usage per Container is ${maximum}, but limit is ${limit}`,
      );
    }
  }
  for (const [resource, minimum] of Object.entries<string>(item.min ?? {})) {
    const request = requests[resource];
    if (request !== undefined && (quantityNanos(request) ?? 0n) < (quantityNanos(minimum) ?? 0n)) {
      throw refuse(
        "pods",
        "",
        pod.metadata.name ?? "",
        `minimum ${resource} usage per Container is ${minimum}, but request is ${request}`,
      );
    }
  }
}
