// SPDX-License-Identifier: Apache-2.0
// Sets of field paths, as managedFields keeps them (FieldsV1).

/** A tree of path elements (`f:name`, `k:{"name":"x"}`, `v:"x"`); `self` says that the path itself is a member. */
export interface FieldSet {
  self: boolean;
  children: Map<string, FieldSet>;
}

export function emptySet(self = false): FieldSet {
  return { self, children: new Map() };
}

export function isEmptySet(set: FieldSet): boolean {
  return !set.self && [...set.children.values()].every(isEmptySet);
}

/** Reads FieldsV1. */
export function parseFields(json: Record<string, any> | undefined, root = true): FieldSet {
  const keys = Object.keys(json ?? {});
  const set = emptySet(!root && (keys.length === 0 || keys.includes(".")));
  for (const key of keys) if (key !== ".") set.children.set(key, parseFields(json![key], false));
  return set;
}

/** Writes FieldsV1. */
export function formatFields(set: FieldSet, root = true): Record<string, any> {
  const json: Record<string, any> = {};
  if (set.self && !root && set.children.size > 0) json["."] = {};
  for (const [key, child] of [...set.children].sort(([a], [b]) => (a < b ? -1 : 1)))
    if (!isEmptySet(child)) json[key] = formatFields(child, false);
  return json;
}

export function union(a: FieldSet, b: FieldSet): FieldSet {
  const result = { self: a.self || b.self, children: new Map(a.children) };
  for (const [key, child] of b.children) {
    const other = result.children.get(key);
    result.children.set(key, other === undefined ? child : union(other, child));
  }
  return result;
}

export function intersection(a: FieldSet, b: FieldSet): FieldSet {
  const result = emptySet(a.self && b.self);
  for (const [key, child] of a.children) {
    const other = b.children.get(key);
    if (other === undefined) continue;
    const both = intersection(child, other);
    if (!isEmptySet(both)) result.children.set(key, both);
  }
  return result;
}

/** The members of `a` that are not in `b`. */
export function difference(a: FieldSet, b: FieldSet): FieldSet {
  const result = emptySet(a.self && !b.self);
  for (const [key, child] of a.children) {
    const other = b.children.get(key);
    const left = other === undefined ? child : difference(child, other);
    if (!isEmptySet(left)) result.children.set(key, left);
  }
  return result;
}

export function equalSets(a: FieldSet, b: FieldSet): boolean {
  return isEmptySet(difference(a, b)) && isEmptySet(difference(b, a));
}

/** The members as clients read them in a conflict: `.spec.containers[name="a"].image`. */
export function pathsOf(set: FieldSet, prefix = ""): string[] {
  const own = set.self && prefix !== "" ? [prefix] : [];
  return [...own, ...[...set.children].flatMap(([key, child]) => pathsOf(child, prefix + readable(key)))];
}

function readable(element: string): string {
  const value = element.slice(2);
  if (element.startsWith("f:")) return `.${value}`;
  if (element.startsWith("v:")) return `[=${value}]`;
  const keys = Object.entries(JSON.parse(value)).map(([key, item]) => `${key}=${JSON.stringify(item)}`);
  return `[${keys.join(",")}]`;
}
