// SPDX-License-Identifier: Apache-2.0
// Objects as field sets: what they contain, how two differ, merging and removing; the base of server-side apply.
import { isDeepStrictEqual } from "node:util";
import { mergeOrder } from "../patch/merge-order.ts";
import type { MergeKey } from "../resources/resource.ts";
import { emptySet, type FieldSet } from "./field-set.ts";

type Json = any;

/** How the list or map at a path of field names merges. */
export type MergeKeyOf = (path: string[]) => MergeKey | undefined;

const isMap = (value: Json): boolean => value !== null && typeof value === "object" && !Array.isArray(value);

const isAtomic = (value: Json, path: string[], rule: MergeKey | undefined): boolean =>
  path.length > 0 &&
  (Array.isArray(value) ? (rule?.listType ?? "atomic") === "atomic" : rule?.listType === "atomic");

/** The items of a granular list by path element. */
function itemsOf(list: Json, rule: MergeKey): Map<string, Json> {
  const items = new Map<string, Json>();
  for (const item of Array.isArray(list) ? list : []) items.set(elementOf(item, rule), item);
  return items;
}

function elementOf(item: Json, rule: MergeKey): string {
  if (rule.listType === "set" || !isMap(item)) return `v:${JSON.stringify(item)}`;
  const keys: Record<string, Json> = {};
  for (const key of [...rule.keys].sort()) {
    const value = item[key] ?? (key === "protocol" ? "TCP" : undefined);
    if (value !== undefined) keys[key] = value;
  }
  return `k:${JSON.stringify(keys)}`;
}

/** Every field of a value. */
export function fieldsOf(value: Json, path: string[], mergeKey: MergeKeyOf): FieldSet {
  const rule = mergeKey(path);
  const isRoot = path.length === 0;
  if (value === null || typeof value !== "object" || isAtomic(value, path, rule)) return emptySet(!isRoot);
  const set = emptySet();
  if (Array.isArray(value)) {
    for (const [element, item] of itemsOf(value, rule!)) {
      const child = isMap(item) ? fieldsOf(item, path, mergeKeyOfItem(path, mergeKey)) : emptySet();
      set.children.set(element, { ...child, self: true });
    }
  } else {
    for (const [key, field] of Object.entries(value))
      if (field !== undefined) set.children.set(`f:${key}`, fieldsOf(field, [...path, key], mergeKey));
  }
  if (set.children.size === 0) set.self = !isRoot;
  return set;
}

// The rule of a list belongs to the list, not to the maps that are its items.
function mergeKeyOfItem(listPath: string[], mergeKey: MergeKeyOf): MergeKeyOf {
  return (path) => (path.length === listPath.length ? undefined : mergeKey(path));
}

/** What changed between two values. */
export interface Comparison {
  added: FieldSet;
  modified: FieldSet;
  removed: FieldSet;
}

/** Compares field by field. */
export function compareFields(before: Json, after: Json, path: string[], mergeKey: MergeKeyOf): Comparison {
  const result: Comparison = { added: emptySet(), modified: emptySet(), removed: emptySet() };
  const rule = mergeKey(path);
  const granular =
    (isMap(before) && isMap(after)) || (Array.isArray(before) && Array.isArray(after))
      ? !isAtomic(after, path, rule)
      : false;
  if (!granular) {
    if (!isDeepStrictEqual(before, after)) result.modified = fieldsOf(after, path, mergeKey);
    return result;
  }
  const isList = Array.isArray(after);
  const left = isList ? itemsOf(before, rule!) : new Map(Object.entries(before));
  const right = isList ? itemsOf(after, rule!) : new Map(Object.entries(after));
  const inner = isList ? mergeKeyOfItem(path, mergeKey) : mergeKey;
  for (const key of new Set([...left.keys(), ...right.keys()])) {
    const element = isList ? key : `f:${key}`;
    const childPath = isList ? path : [...path, key];
    const [from, to] = [left.get(key), right.get(key)];
    if (from === undefined || to === undefined) {
      const fields = fieldsOf(from ?? to, childPath, inner);
      if (isList) fields.self = true;
      (from === undefined ? result.added : result.removed).children.set(element, fields);
      continue;
    }
    const child = compareFields(from, to, childPath, inner);
    for (const part of ["added", "modified", "removed"] as const)
      if (child[part].self || child[part].children.size > 0) result[part].children.set(element, child[part]);
  }
  return result;
}

/** The live value with the fields of `wanted` put over it. */
export function mergeFields(live: Json, wanted: Json, path: string[], mergeKey: MergeKeyOf): Json {
  const rule = mergeKey(path);
  if (wanted === null || typeof wanted !== "object" || isAtomic(wanted, path, rule)) return wanted;
  if (Array.isArray(wanted)) {
    const [left, right] = [itemsOf(live, rule!), itemsOf(wanted, rule!)];
    const inner = mergeKeyOfItem(path, mergeKey);
    return mergeOrder([...left.keys()], [...right.keys()]).map((element) => {
      const item = right.get(element);
      return item === undefined ? left.get(element) : mergeFields(left.get(element), item, path, inner);
    });
  }
  const result: Json = isMap(live) ? { ...live } : {};
  for (const [key, value] of Object.entries(wanted)) {
    if (value === null) delete result[key];
    else result[key] = mergeFields(result[key], value, [...path, key], mergeKey);
  }
  return result;
}

/** The value without the members of `unwanted`; containers that this empties go too. */
export function removeFields(value: Json, unwanted: FieldSet, path: string[], mergeKey: MergeKeyOf): Json {
  if (unwanted.children.size === 0) return unwanted.self ? undefined : value;
  if (Array.isArray(value)) {
    const rule = mergeKey(path);
    if (rule === undefined || rule.listType === "atomic") return value;
    const inner = mergeKeyOfItem(path, mergeKey);
    const kept = value.flatMap((item) => {
      const child = unwanted.children.get(elementOf(item, rule));
      if (child === undefined) return [item];
      if (child.self) return [];
      return [removeFields(item, child, path, inner) ?? {}];
    });
    return kept.length === 0 && value.length > 0 ? undefined : kept;
  }
  if (!isMap(value)) return value;
  const result: Json = {};
  for (const [key, field] of Object.entries(value)) {
    const child = unwanted.children.get(`f:${key}`);
    const left = child === undefined ? field : removeFields(field, child, [...path, key], mergeKey);
    if (left !== undefined) result[key] = left;
  }
  return path.length > 0 && Object.keys(result).length === 0 ? undefined : result;
}
