// SPDX-License-Identifier: Apache-2.0
import type { KubeClient } from "../../../../lib/kube.ts";
import type { KubeObject } from "../../../../lib/kube-object.ts";
import type { Condition } from "./pod-state.ts";
import { canonicalJson } from "./pod-template.ts";
import { type KnownResource, pathOf } from "./resources.ts";

/** Writes the status of an object when it differs from the one the object has; the answer is the new object. */
export async function writeStatus(
  client: KubeClient,
  resource: KnownResource,
  object: KubeObject,
  status: any,
): Promise<KubeObject> {
  if (canonicalJson(object.status ?? {}) === canonicalJson(status)) return object;
  const { namespace, name } = object.metadata;
  return await client.replace(`${pathOf(resource, namespace, name)}/status`, {
    apiVersion: resource.apiVersion,
    kind: resource.kind,
    ...object,
    status,
  });
}

/** The time as the API writes it: whole seconds, UTC. */
export function apiTime(atMs = Date.now()): string {
  return new Date(atMs).toISOString().replace(/\.\d+Z$/, "Z");
}

/** The conditions with this one set; its transition time changes only with its status. */
export function withCondition(conditions: Condition[] | undefined, wanted: Condition): Condition[] {
  const present = conditions?.find((entry) => entry.type === wanted.type);
  const next: Condition = {
    ...wanted,
    lastTransitionTime:
      present !== undefined && present.status === wanted.status
        ? (present.lastTransitionTime ?? apiTime())
        : apiTime(),
  };
  if (present === undefined) return [...(conditions ?? []), next];
  return conditions!.map((entry) => (entry === present ? next : entry));
}

export function withoutCondition(conditions: Condition[] | undefined, type: string): Condition[] {
  return (conditions ?? []).filter((entry) => entry.type !== type);
}
