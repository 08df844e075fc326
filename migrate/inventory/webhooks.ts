// SPDX-License-Identifier: Apache-2.0
import type { KubeObject } from "../../lib/kube-object.ts";
import { matchesSelector } from "../../lib/label-selector.ts";
import type { Webhook } from "../model/inventory.ts";
import type { WebhookDetails } from "./details.ts";
import type { ClusterSource } from "./source.ts";

/** What a migration asks of the API server: group, resource and operation. */
const asked: [group: string, resource: string, operations: string[]][] = [
  ["", "pods", ["CREATE", "DELETE"]],
  ["", "pods/eviction", ["CREATE"]],
  ["", "nodes", ["UPDATE"]],
  ["apps", "daemonsets", ["CREATE", "UPDATE"]],
  ["", "configmaps", ["CREATE", "UPDATE"]],
  ["coordination.k8s.io", "leases", ["CREATE", "UPDATE"]],
];

/** The resources of `asked` that the rules of a webhook match. */
export function matchedResources(rules: any[]): string[] {
  const names = (list: unknown): string[] => (Array.isArray(list) ? list.map(String) : []);
  const has = (list: string[], name: string): boolean => list.includes("*") || list.includes(name);
  return asked
    .filter(([group, resource, operations]) =>
      rules.some((rule) => {
        const resources = names(rule.resources);
        const [parent, sub] = resource.split("/");
        const matches =
          resources.includes("*/*") ||
          resources.includes(resource) ||
          (sub === undefined
            ? resources.includes("*")
            : resources.includes(`${parent}/*`) || resources.includes(`*/${sub}`));
        return (
          matches &&
          has(names(rule.apiGroups), group) &&
          operations.some((operation) => has(names(rule.operations), operation))
        );
      }),
    )
    .map(([, resource]) => resource);
}

export interface WebhookReading {
  webhooks: Webhook[];
  details: WebhookDetails[];
}

/** The admission webhooks that stand in the way of something that a migration does. */
export async function readWebhooks(source: ClusterSource): Promise<WebhookReading> {
  const reading: WebhookReading = { webhooks: [], details: [] };
  const base = "/apis/admissionregistration.k8s.io/v1";
  const visit = (kind: string) => (object: KubeObject) => {
    for (const hook of object.webhooks ?? []) addWebhook(reading, kind, object.metadata.name ?? "", hook);
  };
  await source.each(`${base}/validatingwebhookconfigurations`, visit("ValidatingWebhookConfiguration"));
  await source.each(`${base}/mutatingwebhookconfigurations`, visit("MutatingWebhookConfiguration"));
  return reading;
}

const systemLabels = { "kubernetes.io/metadata.name": "kube-system" };

function addWebhook(reading: WebhookReading, kind: string, name: string, hook: any): void {
  const resources = matchedResources(hook.rules ?? []);
  if (resources.length === 0) return;
  const service = hook.clientConfig?.service;
  reading.webhooks.push({
    object: { kind, name },
    resources,
    failurePolicy: hook.failurePolicy === "Ignore" ? "Ignore" : "Fail",
    timeoutSeconds: hook.timeoutSeconds ?? 10,
    ...(service === undefined
      ? {}
      : { service: { kind: "Service", namespace: service.namespace, name: service.name } }),
  });
  reading.details.push({
    name,
    webhook: String(hook.name ?? ""),
    serviceExists: false,
    sparesKubeSystem:
      hook.namespaceSelector !== undefined && !matchesSelector(hook.namespaceSelector, systemLabels),
  });
}
