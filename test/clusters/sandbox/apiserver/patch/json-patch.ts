// SPDX-License-Identifier: Apache-2.0
// RFC 6902 (JSON Patch) and RFC 7396 (JSON Merge Patch).
import { isDeepStrictEqual } from "node:util";
import { badRequest, StatusError } from "../status.ts";

type Json = any;

function rejected(detail: string): StatusError {
  const message = "the server rejected our request due to an error in our request";
  return new StatusError(422, "Invalid", message, { causes: [{ message: detail }] });
}

function parsePointer(pointer: unknown): string[] {
  if (typeof pointer !== "string" || (pointer !== "" && !pointer.startsWith("/")))
    throw badRequest(`error decoding patch: bad path ${JSON.stringify(pointer)}`);
  return pointer
    .split("/")
    .slice(1)
    .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"));
}

function child(value: Json, part: string): Json {
  if (Array.isArray(value)) return value[indexOf(part, value.length - 1)];
  if (value !== null && typeof value === "object" && Object.hasOwn(value, part)) return value[part];
  throw rejected(`missing path element "${part}"`);
}

function indexOf(part: string, last: number): number {
  const index = /^(0|[1-9]\d*)$/.test(part) ? Number(part) : Number.NaN;
  if (!(index <= last)) throw rejected(`invalid index "${part}"`);
  return index;
}

function read(root: Json, path: readonly string[]): Json {
  return path.reduce(child, root);
}

function setAt(root: Json, path: readonly string[], value: Json, mustExist: boolean): Json {
  if (path.length === 0) return value;
  const parent = read(root, path.slice(0, -1));
  const last = path.at(-1)!;
  if (Array.isArray(parent)) {
    if (mustExist) parent[indexOf(last, parent.length - 1)] = value;
    else parent.splice(last === "-" ? parent.length : indexOf(last, parent.length), 0, value);
  } else if (parent !== null && typeof parent === "object") {
    if (mustExist && !Object.hasOwn(parent, last)) throw rejected(`missing key "${last}"`);
    define(parent, last, value);
  } else throw rejected(`cannot set "${last}" in a scalar`);
  return root;
}

function define(target: Json, key: string, value: Json): void {
  Object.defineProperty(target, key, { value, enumerable: true, configurable: true, writable: true });
}

function removeAt(root: Json, path: readonly string[]): void {
  const parent = read(root, path.slice(0, -1));
  const last = path.at(-1);
  if (last === undefined) throw rejected("cannot remove the whole document");
  if (Array.isArray(parent)) parent.splice(indexOf(last, parent.length - 1), 1);
  else if (parent !== null && typeof parent === "object" && Object.hasOwn(parent, last)) delete parent[last];
  else throw rejected(`unable to remove nonexistent key: ${last}`);
}

/** Applies a JSON patch to a copy of the document. Throws a 400 or a 422. */
export function applyJsonPatch(document: Json, operations: Json): Json {
  if (!Array.isArray(operations))
    throw badRequest(
      "error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch",
    );
  if (operations.length > 10_000)
    throw new StatusError(
      413,
      "RequestEntityTooLarge",
      "The allowed maximum operations in a JSON patch is 10000",
    );
  let root = structuredClone(document);
  for (const operation of operations) {
    const path = parsePointer(operation?.path);
    switch (operation.op) {
      case "add":
        root = setAt(root, path, structuredClone(operation.value), false);
        break;
      case "replace":
        root = setAt(root, path, structuredClone(operation.value), true);
        break;
      case "remove":
        removeAt(root, path);
        break;
      case "test":
        if (!isDeepStrictEqual(read(root, path), operation.value ?? null))
          throw rejected(`testing value ${operation.path} failed`);
        break;
      case "copy":
        root = setAt(root, path, structuredClone(read(root, parsePointer(operation.from))), false);
        break;
      case "move": {
        const from = parsePointer(operation.from);
        const value = read(root, from);
        removeAt(root, from);
        root = setAt(root, path, value, false);
        break;
      }
      default:
        throw badRequest(`error decoding patch: unknown operation ${JSON.stringify(operation.op)}`);
    }
  }
  return root;
}

/** Applies a merge patch to a copy of the document. */
export function applyMergePatch(document: Json, patch: Json): Json {
  if (patch === null || typeof patch !== "object" || Array.isArray(patch)) return structuredClone(patch);
  const isMap = document !== null && typeof document === "object" && !Array.isArray(document);
  const result: Json = isMap ? { ...document } : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key];
    else define(result, key, applyMergePatch(Object.hasOwn(result, key) ? result[key] : undefined, value));
  }
  return result;
}
