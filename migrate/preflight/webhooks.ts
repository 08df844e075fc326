// SPDX-License-Identifier: Apache-2.0

import type { WebhookDetails } from "../inventory/details.ts";
import type { Finding, Webhook } from "../model/inventory.ts";
import { block, type CheckContext, info, limited, warn } from "./check.ts";
import { objectName } from "./cluster.ts";

/** Admission webhooks that could refuse, or keep waiting, what a migration asks of the API server. */
export function checkWebhooks({ inventory, details }: CheckContext): Finding[] {
  const found = inventory.webhooks.flatMap((webhook, index) => judge(webhook, details.webhooks[index]));
  return [...limited(found), ...policyEngines(inventory.webhooks, details.webhooks)];
}

function judge(webhook: Webhook, extra: WebhookDetails | undefined): Finding[] {
  if (webhook.failurePolicy !== "Fail" || webhook.service === undefined || extra === undefined) return [];
  const object = objectName(webhook.object);
  const service = `${webhook.service.namespace}/${webhook.service.name}`;
  const what = `${webhook.resources.join(", ")} (webhook ${extra.webhook}, failurePolicy Fail)`;
  if (!extra.serviceExists || extra.readyEndpoints === 0)
    return [
      block({
        id: "webhook-dead",
        object,
        problem: `Service ${service} has ${extra.serviceExists ? "no ready endpoint" : "gone"}: the API server refuses ${what}`,
        remedy: "Mend that Service, delete the configuration, or set failurePolicy: Ignore.",
      }),
    ];
  if (extra.readyEndpoints !== 1)
    return [
      info({
        id: "webhook-in-cluster",
        object,
        problem: `pods behind Service ${service} decide on ${what}`,
        remedy: "They are drained like others; keep two of them on different nodes at all times.",
      }),
    ];
  return [
    warn({
      id: "webhook-single",
      object,
      problem: `one pod behind Service ${service} decides on ${what}: while it moves, the API server refuses them, its own replacement too if it is not exempt`,
      remedy:
        "Scale it to 2, exempt its namespace and kube-system by namespaceSelector, or set failurePolicy: Ignore meanwhile.",
    }),
  ];
}

const engines = /gatekeeper|kyverno|kubewarden|polaris|datree|jspolicy|k-rail/;

/** Engines that judge pods may refuse ours: the agent and the node tasks are privileged. */
function policyEngines(webhooks: Webhook[], details: WebhookDetails[]): Finding[] {
  const seen = new Map<string, boolean>();
  for (const [index, webhook] of webhooks.entries()) {
    const name = engines.exec(`${webhook.object.name} ${details[index]?.webhook ?? ""}`)?.[0];
    const judges = webhook.resources.some((resource) => resource === "pods" || resource === "daemonsets");
    if (name !== undefined && judges)
      seen.set(name, (seen.get(name) ?? true) && (details[index]?.sparesKubeSystem ?? false));
  }
  return [...seen].map(([name, spares]) =>
    (spares ? info : warn)({
      id: "policy-engine",
      object: "cluster",
      problem: `${name} judges pods and may refuse privileged ones: the agent's, node tasks' and probes'`,
      remedy: `Exempt the namespaces kube-system and shunt-probe in ${name}${spares ? " (kube-system is exempt already)" : ""}.`,
    }),
  );
}
