// SPDX-License-Identifier: Apache-2.0
import type { IncomingMessage } from "node:http";
import type { Call } from "../api.ts";
import { mediaType, readBody, readObjectBody } from "../http-answer.ts";
import { patchDocument } from "../patch/patch-object.ts";
import type { Answer } from "../resource-handler.ts";
import type { KubeObject } from "../resources/index.ts";
import { badRequest, invalid, methodNotAllowed, modifiedConflict } from "../status.ts";
import { review } from "../webhooks/admission.ts";
import { getObject, updateObject } from "../write.ts";

function read(object: KubeObject, path: string): any {
  return path
    .split(".")
    .slice(1)
    .reduce((value: any, key) => value?.[key], object);
}

function replicasSet(object: KubeObject, path: string, replicas: number): KubeObject {
  const result = structuredClone(object);
  const keys = path.split(".").slice(1);
  let target: any = result;
  for (const key of keys.slice(0, -1)) target = target[key] ??= {};
  target[keys.at(-1)!] = replicas;
  return result;
}

function selectorText(selector: any): string | undefined {
  if (selector === undefined || typeof selector === "string") return selector;
  const labels: Record<string, string> = selector.matchLabels ?? (selector.matchExpressions ? {} : selector);
  const terms = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
  for (const { key, operator, values = [] } of selector.matchExpressions ?? []) {
    if (operator === "Exists") terms.push(key);
    else if (operator === "DoesNotExist") terms.push(`!${key}`);
    else terms.push(`${key} ${operator === "In" ? "in" : "notin"} (${values.join(",")})`);
  }
  return terms.sort().join(",");
}

function scaleOf(call: Call, object: KubeObject): KubeObject {
  const { spec, status, selector } = call.resource.scale!;
  const { name, namespace, uid, resourceVersion, creationTimestamp } = object.metadata;
  const text = selector === undefined ? undefined : selectorText(read(object, selector));
  return {
    kind: "Scale",
    apiVersion: "autoscaling/v1",
    metadata: { name, namespace, uid, resourceVersion, creationTimestamp },
    spec: { replicas: read(object, spec) ?? 0 },
    status: { replicas: read(object, status) ?? 0, ...(text === undefined ? {} : { selector: text }) },
  };
}

/** GET, PUT and PATCH of `scale`. */
export async function handleScale(call: Call, request: IncomingMessage): Promise<Answer> {
  const { resource, info } = call;
  if (resource.scale === undefined) throw methodNotAllowed();
  if (info.verb === "get") return { code: 200, object: scaleOf(call, getObject(call)) };
  const isPatch = info.verb === "patch";
  const sent = isPatch ? await readBody(request) : await readObjectBody(request);
  const before = scaleOf(call, getObject(call));
  let wanted: KubeObject;
  if (isPatch) {
    const plain = { ...call, resource: { ...resource, mergeKey: () => undefined, strategicMerge: true } };
    wanted = patchDocument(plain, before, { contentType: mediaType(request), text: sent });
  } else if (info.verb === "update") wanted = sent;
  else throw methodNotAllowed();
  const kind = { group: "autoscaling", version: "v1", kind: "Scale" };
  wanted = (await review(call, { operation: "UPDATE", kind, object: wanted, oldObject: before })) ?? wanted;
  const object = getObject(call);
  const replicas = wanted?.spec?.replicas ?? 0;
  if (!Number.isInteger(replicas)) throw badRequest("spec.replicas must be an integer");
  if (replicas < 0)
    throw invalid({ group: "autoscaling", kind: "Scale" }, info.name, [
      {
        field: "spec.replicas",
        reason: "FieldValueInvalid",
        message: `Invalid value: ${replicas}: must be greater than or equal to 0`,
      },
    ]);
  const { resourceVersion } = wanted.metadata ?? {};
  if (resourceVersion && resourceVersion !== object.metadata.resourceVersion)
    throw modifiedConflict(resource, info.name);
  const changed = replicasSet(object, resource.scale.spec, replicas);
  return { code: 200, object: scaleOf(call, updateObject(call, object, changed, { trusted: true })) };
}
