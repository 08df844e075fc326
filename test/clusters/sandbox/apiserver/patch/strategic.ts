// SPDX-License-Identifier: Apache-2.0
// Strategic merge patch: maps merge, lists merge by the key that the kind declares, and directives steer it.
import type { MergeKey } from "../resources/resource.ts";
import { badRequest } from "../status.ts";
import { mergeOrder } from "./merge-order.ts";

type Json = any;
type MergeKeyOf = (path: string[]) => MergeKey | undefined;

const ORDER = "$setElementOrder/";
const DELETE = "$deleteFromPrimitiveList/";

const isMap = (value: Json): boolean => value !== null && typeof value === "object" && !Array.isArray(value);

/** Applies a strategic merge patch; the document is not changed. Throws a 400 for a malformed patch. */
export function applyStrategicPatch(document: Json, patch: Json, mergeKey: MergeKeyOf): Json {
  if (!isMap(patch)) throw badRequest("unable to parse patch: it must be an object");
  return mergeMap(document, patch, [], mergeKey);
}

function mergeMap(original: Json, patch: Json, path: string[], mergeKey: MergeKeyOf): Json {
  const { $patch: directive, $retainKeys: retain, ...fields } = patch;
  if (directive === "replace") return strip(fields);
  if (directive === "delete") return {};
  if (directive !== undefined && directive !== "merge")
    throw badRequest(`unknown patch type: ${JSON.stringify(directive)}`);
  const result: Json = { ...original };
  if (Array.isArray(retain))
    for (const key of Object.keys(result)) if (!retain.includes(key)) delete result[key];
  const lists = new Set<string>();
  for (const [key, value] of Object.entries<Json>(fields)) {
    if (key.startsWith(ORDER)) lists.add(key.slice(ORDER.length));
    else if (key.startsWith(DELETE)) lists.add(key.slice(DELETE.length));
    else if (value === null) delete result[key];
    else if (isMap(value)) {
      if (isMap(result[key])) result[key] = mergeMap(result[key], value, [...path, key], mergeKey);
      else if (value.$patch !== "delete") result[key] = strip(value);
      else delete result[key];
    } else if (Array.isArray(value)) lists.add(key);
    else result[key] = value;
  }
  for (const key of lists) {
    if (fields[key] === null) continue;
    result[key] = mergeList(result[key], listPatch(fields, key), [...path, key], mergeKey);
    if (result[key] === undefined) delete result[key];
  }
  return result;
}

interface ListPatch {
  items: Json[] | undefined;
  order: Json[] | undefined;
  deleted: Json[];
}

function listPatch(fields: Json, key: string): ListPatch {
  const pick = (name: string): Json[] | undefined => (Array.isArray(fields[name]) ? fields[name] : undefined);
  return { items: pick(key), order: pick(ORDER + key), deleted: pick(DELETE + key) ?? [] };
}

function mergeList(
  original: Json,
  patch: ListPatch,
  path: string[],
  mergeKey: MergeKeyOf,
): Json[] | undefined {
  const rule = mergeKey(path);
  const live: Json[] = Array.isArray(original) ? original : [];
  const items = patch.items ?? [];
  if (items.some((item) => isMap(item) && item.$patch === "replace"))
    return items.filter((item) => item.$patch !== "replace").map(strip);
  if (rule?.patchMergeKey !== undefined)
    return mergeByKey(live, items, patch.order, rule.patchMergeKey, path, mergeKey);
  if (rule?.listType === "set") return mergeSet(live, items, patch);
  if (patch.items === undefined) return Array.isArray(original) ? original : undefined;
  return items.map(strip);
}

function mergeSet(live: Json[], items: Json[], patch: ListPatch): Json[] {
  const merged = [...new Set([...live, ...items])].filter((item) => !patch.deleted.includes(item));
  if (patch.order === undefined) return merged;
  const wanted = patch.order.filter((item) => merged.includes(item)).map(String);
  const byText = new Map(merged.map((item) => [String(item), item]));
  return mergeOrder(merged.map(String), wanted).map((text) => byText.get(text));
}

function mergeByKey(
  live: Json[],
  items: Json[],
  order: Json[] | undefined,
  key: string,
  path: string[],
  mergeKey: MergeKeyOf,
): Json[] {
  const identity = (item: Json): string => JSON.stringify(item?.[key]);
  let merged = [...live];
  for (const item of items) {
    if (!isMap(item) || item[key] === undefined)
      throw badRequest(`map: ${JSON.stringify(item)} does not contain declared merge key: ${key}`);
    const id = identity(item);
    if (item.$patch === "delete") {
      merged = merged.filter((other) => identity(other) !== id);
      continue;
    }
    const at = merged.findIndex((other) => identity(other) === id);
    if (at < 0) merged.push(strip(item));
    else merged[at] = mergeMap(merged[at], item, path, mergeKey);
  }
  if (order === undefined) return merged;
  // Items with the same key (ports of one number and two protocols) stay together.
  const groups = new Map<string, Json[]>();
  for (const item of merged) groups.set(identity(item), [...(groups.get(identity(item)) ?? []), item]);
  const liveOrder = [...new Set(live.map(identity))].filter((id) => groups.has(id));
  const wanted = [...new Set(order.map(identity))].filter((id) => groups.has(id));
  const ids = mergeOrder(liveOrder, wanted);
  const rest = [...groups.keys()].filter((id) => !ids.includes(id));
  return [...ids, ...rest].flatMap((id) => groups.get(id)!);
}

// What a patch adds where nothing was: without directives and nulls.
function strip(value: Json): Json {
  if (Array.isArray(value))
    return value.filter((item) => !(isMap(item) && item.$patch === "delete")).map(strip);
  if (!isMap(value)) return value;
  const result: Json = {};
  for (const [key, field] of Object.entries(value))
    if (!key.startsWith("$") && field !== null) result[key] = strip(field);
  return result;
}
