// SPDX-License-Identifier: Apache-2.0
import { isDeepStrictEqual } from "node:util";
import { type KubeClient, resourcePath } from "../../../../lib/kube.ts";
import type { Pod } from "./pod.ts";

/** A strategic merge patch from one pod status to another; undefined when they say the same. */
export function statusPatch(old: any, wanted: any): any | undefined {
  const patch: any = {};
  for (const [field, value] of Object.entries(wanted)) {
    if (field === "conditions") {
      const changed = (value as any[]).filter((entry) => !isSame(entry, conditionOf(old, entry.type)));
      if (changed.length > 0)
        patch.conditions = changed.map((entry) => withoutStale(entry, conditionOf(old, entry.type)));
    } else if (!isSame(value, old[field])) patch[field] = value;
  }
  for (const field of ["podIPs", "hostIPs"])
    if (patch[field] !== undefined) patch[field] = mergedByKey(patch[field], old[field] ?? []);
  for (const field of ["reason", "message", "podIP", "podIPs"])
    if (old[field] !== undefined && wanted[field] === undefined) patch[field] = null;
  return Object.keys(patch).length === 0 ? undefined : patch;
}

const conditionOf = (status: any, type: string) =>
  status.conditions?.find((entry: any) => entry.type === type);

/** Fields of the old condition that the new one has not must be named to go. */
function withoutStale(entry: any, old: any): any {
  const stale = Object.keys(old ?? {}).filter((key) => !(key in entry));
  return { ...entry, ...Object.fromEntries(stale.map((key) => [key, null])) };
}

/** These lists merge by address: one that is gone has to be deleted by name. */
function mergedByKey(wanted: { ip: string }[], old: { ip: string }[]): any[] {
  const gone = old.filter((entry) => !wanted.some((other) => other.ip === entry.ip));
  const kept = wanted.filter((entry) => old.some((other) => other.ip === entry.ip));
  // The order matters (the first is the pod's main address): when it would change, replace all.
  if (kept.length > 0) return [...wanted, { $patch: "replace" }];
  return [...wanted, ...gone.map((entry) => ({ $patch: "delete", ip: entry.ip }))];
}

/** Equal, when fields that are empty and fields that are missing count as the same. */
function isSame(a: any, b: any): boolean {
  return isDeepStrictEqual(normalize(a), normalize(b));
}

function normalize(value: any): any {
  if (Array.isArray(value)) return value.map(normalize);
  if (value === null || typeof value !== "object") return value;
  const entries = Object.entries(value)
    .filter(([, item]) => item !== undefined && item !== null && item !== "")
    .map(([key, item]) => [key, normalize(item)] as const);
  return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Writes a pod's status when it differs; returns the pod as stored, or undefined when nothing was sent. */
export async function writeStatus(client: KubeClient, pod: Pod, wanted: any): Promise<Pod | undefined> {
  const status = statusPatch(pod.status ?? {}, wanted);
  if (status === undefined) return undefined;
  const path = `${resourcePath("v1", "pods", pod.metadata.namespace, pod.metadata.name)}/status`;
  return await client.patch<Pod>(path, "strategic", { metadata: { uid: pod.metadata.uid }, status });
}
