// SPDX-License-Identifier: Apache-2.0
import type { BuiltinKind } from "../builtin-table.ts";
import { refuse } from "../field-errors.ts";
import type { KubeObject, ObjectReader, PrepareContext, Resource } from "../resource.ts";
import { quantityNanos } from "../schema/quantity.ts";

type Kind = Pick<BuiltinKind | Resource, "group" | "plural" | "namespaced">;

const PLAIN_NAMES = [
  "pods",
  "services",
  "secrets",
  "configmaps",
  "persistentvolumeclaims",
  "replicationcontrollers",
  "resourcequotas",
];
const NANOS = 1_000_000_000n;

/** The names by which a quota limits how many objects of a kind there are. */
function countNames({ group, plural }: Kind): string[] {
  const counted = `count/${group === "" ? plural : `${plural}.${group}`}`;
  return group === "" && PLAIN_NAMES.includes(plural) ? [counted, plural] : [counted];
}

// "pods" leaves out those that have ended; "count/pods" counts what is stored.
function usage(name: string, kind: Kind, namespace: string, store: ObjectReader): number {
  const objects = store.list(kind.group, kind.plural, namespace);
  if (name !== "pods") return objects.length;
  return objects.filter((pod) => !["Succeeded", "Failed"].includes(pod.status?.phase)).length;
}

const BEST_EFFORT: Record<string, boolean> = { BestEffort: true, NotBestEffort: false };
const TERMINATING: Record<string, boolean> = { Terminating: true, NotTerminating: false };

// Scopes select pods only.
function isInScope(quota: KubeObject, kind: Kind, object: KubeObject): boolean {
  const scopes: string[] = quota.spec?.scopes ?? [];
  if (scopes.length === 0) return true;
  if (kind.group !== "" || kind.plural !== "pods") return false;
  const hasResources = (object.spec?.containers ?? []).some(
    (container: KubeObject) =>
      Object.keys({ ...container.resources?.requests, ...container.resources?.limits }).length > 0,
  );
  return scopes.every((scope) => {
    if (scope in BEST_EFFORT) return BEST_EFFORT[scope] === !hasResources;
    if (scope in TERMINATING)
      return TERMINATING[scope] === (object.spec?.activeDeadlineSeconds !== undefined);
    return false;
  });
}

/** Refuses a new object that is one more than a ResourceQuota of its namespace allows. Throws a Refusal. */
export function checkResourceQuotas(kind: Kind, { object, operation, store }: PrepareContext): void {
  const { namespace, name, generateName } = object.metadata;
  if (operation !== "create" || !kind.namespaced || !namespace) return;
  const names = countNames(kind);
  for (const quota of store.list("", "resourcequotas", namespace)) {
    const hard: Record<string, string> = quota.spec?.hard ?? {};
    if (!isInScope(quota, kind, object)) continue;
    const exceeded = names
      .filter((key) => Object.hasOwn(hard, key))
      .map((key) => ({ key, used: usage(key, kind, namespace, store), limit: hard[key]! }))
      .filter(({ used, limit }) => BigInt(used + 1) * NANOS > (quantityNanos(limit) ?? 0n));
    if (exceeded.length === 0) continue;
    const list = (text: (entry: (typeof exceeded)[number]) => string) =>
      exceeded.map((entry) => `${entry.key}=${text(entry)}`).join(",");
    throw refuse(
      kind.plural,
      kind.group,
      name ?? generateName ?? "",
      `exceeded quota: ${quota.metadata.name}, requested: ${list(() => "1")}, used: ${list(({ used }) => String(used))}, limited: ${list(({ limit }) => limit)}`,
    );
  }
}
