// SPDX-License-Identifier: Apache-2.0
import { matchesSelector } from "../../../../../lib/label-selector.ts";
import type { Call } from "../api.ts";
import type { KubeObject } from "../resources/index.ts";

/** What webhooks are asked about. */
export interface Attributes {
  operation: "CREATE" | "UPDATE" | "DELETE" | "CONNECT";
  /** The kind of `object`, which for subresources is not the resource's. */
  kind: { group: string; version: string; kind: string };
  object: KubeObject | undefined;
  oldObject: KubeObject | undefined;
}

const includes = (list: string[] | undefined, value: string): boolean =>
  (list ?? []).includes("*") || (list ?? []).includes(value);

function matchesResource(patterns: string[] | undefined, resource: string, subresource: string): boolean {
  return (patterns ?? []).some((pattern) => {
    const [wanted, sub = ""] = pattern.split("/");
    return (wanted === "*" || wanted === resource) && (sub === "*" ? pattern !== "*" : sub === subresource);
  });
}

function matchesRule(rule: KubeObject, call: Call, { operation }: Attributes): boolean {
  const { resource, info } = call;
  const scope = resource.namespaced ? "Namespaced" : "Cluster";
  return (
    includes(rule.operations, operation) &&
    includes(rule.apiGroups, resource.group) &&
    includes(rule.apiVersions, resource.version) &&
    includes([rule.scope ?? "*"], scope) &&
    matchesResource(rule.resources, resource.plural, info.subresource)
  );
}

function namespaceLabels(call: Call, attributes: Attributes): Record<string, string> | undefined {
  const { resource, api } = call;
  const object = attributes.object ?? attributes.oldObject;
  if (resource.group === "" && resource.plural === "namespaces") return object?.metadata.labels;
  const namespace = call.info.namespace ?? object?.metadata.namespace;
  return api.store.get("", "namespaces", undefined, namespace)?.metadata.labels;
}

/** Whether a webhook wants to see a request. */
export function matchesWebhook(webhook: KubeObject, call: Call, attributes: Attributes): boolean {
  if (!(webhook.rules ?? []).some((rule: KubeObject) => matchesRule(rule, call, attributes))) return false;
  const isNamespace = call.resource.group === "" && call.resource.plural === "namespaces";
  if (
    (call.resource.namespaced || isNamespace) &&
    !matchesSelector(webhook.namespaceSelector ?? {}, namespaceLabels(call, attributes))
  )
    return false;
  return [attributes.object, attributes.oldObject].some(
    (object) =>
      object?.metadata !== undefined &&
      matchesSelector(webhook.objectSelector ?? {}, object.metadata.labels ?? {}),
  );
}
