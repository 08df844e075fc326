// SPDX-License-Identifier: Apache-2.0
// Policy objects as anybody may write them: their shape by the schema of their kind, their contents by its parser.
import { Ajv, type ErrorObject, type ValidateFunction } from "ajv";
import type { KubeObject } from "../../lib/kube-object.ts";
import { type PolicyKind, policyResources, policySchemas, strictSchema } from "../../lib/policy-schema.ts";
import { parseAdminPolicy } from "./admin-policy.ts";
import { parseCiliumPolicy } from "./cilium-policy.ts";
import type { Parsed, Path, Problem } from "./model.ts";
import { parseNetworkPolicy } from "./network-policy.ts";

const parsers: Record<PolicyKind, (object: KubeObject) => Parsed> = {
  NetworkPolicy: parseNetworkPolicy,
  CiliumNetworkPolicy: parseCiliumPolicy,
  CiliumClusterwideNetworkPolicy: parseCiliumPolicy,
  AdminNetworkPolicy: parseAdminPolicy,
  BaselineAdminNetworkPolicy: parseAdminPolicy,
  ClusterNetworkPolicy: parseAdminPolicy,
};

/** Whether objects of this kind are policies that we know. */
export function isPolicy(object: unknown): object is KubeObject {
  const { kind, apiVersion } = (object ?? {}) as KubeObject;
  return (
    typeof kind === "string" &&
    Object.hasOwn(policyResources, kind) &&
    apiVersion === policyResources[kind as PolicyKind].apiVersion
  );
}

const ajv = new Ajv({ allErrors: true, strict: true, strictTypes: false, verbose: true });
const validators = new Map<PolicyKind, ValidateFunction>();
function validatorOf(kind: PolicyKind): ValidateFunction {
  const known = validators.get(kind) ?? ajv.compile(strictSchema(policySchemas[kind]));
  validators.set(kind, known);
  return known;
}

/** Reads a policy object of any kind that `isPolicy` knows. Nothing of a wrong one is used. */
export function parsePolicy(object: KubeObject): Parsed {
  const kind = object.kind as PolicyKind;
  const validate = validatorOf(kind);
  const bare = withoutNulls(object);
  if (!validate(bare))
    return { policies: [], problems: (validate.errors ?? []).map((error) => problemOf(error, bare)) };
  const { name, namespace } = bare.metadata;
  if (typeof name !== "string")
    return { policies: [], problems: [{ path: ["metadata", "name"], message: "it needs a name" }] };
  if (namespace !== undefined && typeof namespace !== "string")
    return { policies: [], problems: [{ path: ["metadata", "namespace"], message: "it must be a name" }] };
  return parsers[kind](bare);
}

/** The API server drops fields that are null, as if they were not there; what is undefined is not there. */
function withoutNulls<T>(value: T): T {
  if (Array.isArray(value)) return value.map(withoutNulls) as T;
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, one]) => one !== null && one !== undefined)
      .map(([key, one]) => [key, withoutNulls(one)]),
  ) as T;
}

function problemOf(error: ErrorObject, object: unknown): Problem {
  const { instancePath, keyword, params, message, parentSchema } = error;
  const path = pathOf(instancePath, object);
  if (keyword === "additionalProperties")
    return { path: [...path, params.additionalProperty], message: "there is no such field" };
  if (keyword === "required") return { path, message: `it needs ${params.missingProperty}` };
  if (keyword === "enum") return { path, message: `must be one of ${params.allowedValues.join(", ")}` };
  if (keyword === "minProperties" || keyword === "maxProperties")
    return { path, message: `it must have one of ${Object.keys(parentSchema?.properties).join(", ")}` };
  return { path, message: message ?? "is wrong" };
}

/** RFC 6901, with the indexes of lists as numbers. */
function pathOf(pointer: string, object: unknown): Path {
  const path: (string | number)[] = [];
  let at: any = object;
  for (const part of pointer.split("/").slice(1)) {
    const key = part.replaceAll("~1", "/").replaceAll("~0", "~");
    path.push(Array.isArray(at) ? Number(key) : key);
    at = at?.[key];
  }
  return path;
}
