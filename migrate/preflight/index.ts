// SPDX-License-Identifier: Apache-2.0
import type { InventoryDetails } from "../inventory/details.ts";
import { emptyDetails } from "../inventory/empty-details.ts";
import type { Finding, Inventory, Severity } from "../model/inventory.ts";
import { advise } from "./advice.ts";
import type { Check, CheckContext, PreflightOptions } from "./check.ts";
import { checkCluster } from "./cluster.ts";
import { checkDrain } from "./drain.ts";
import { checkNetwork } from "./network.ts";
import { checkNodes } from "./nodes.ts";
import { checkPolicies } from "./policies.ts";
import { checkServices } from "./services.ts";
import { checkWebhooks } from "./webhooks.ts";

export type { PreflightOptions } from "./check.ts";
export { formatFindings, formatInventory } from "./format.ts";
export { findingsPage } from "./page.ts";

const checks: Check[] = [
  checkCluster,
  checkNodes,
  checkNetwork,
  checkServices,
  checkPolicies,
  checkDrain,
  checkWebhooks,
  advise,
];

/** Nothing of the old cluster is changed: only what a cluster with the agent does otherwise is told. */
const checksOfNewCluster: Check[] = [
  checkCluster,
  (context) => checkServices(context).filter(({ id }) => !id.startsWith("kube-proxy-")),
  checkPolicies,
  advise,
];

const order: Record<Severity, number> = { block: 0, warn: 1, info: 2 };

/**
 * Judges an inventory: everything that stands in the way of the migration, that may hurt, or that is worth knowing,
 * the worst first. An accepted finding warns instead of blocking.
 */
export function preflight(inventory: Inventory, options: PreflightOptions = {}): Finding[] {
  const context = contextOf(inventory, inventory.details ?? emptyDetails(), options);
  const accepted = new Set(context.options.accept);
  const findings = (options.strategy === "new-cluster" ? checksOfNewCluster : checks)
    .flatMap((check) => check(context))
    .map((found): Finding => {
      if (found.severity !== "block" || !accepted.has(found.id)) return found;
      return { ...found, severity: "warn", problem: `accepted: ${found.problem}` };
    });
  return findings.sort((a, b) => order[a.severity] - order[b.severity]);
}

function contextOf(inventory: Inventory, details: InventoryDetails, options: PreflightOptions): CheckContext {
  const strategy = options.strategy ?? "node-by-node";
  return {
    inventory,
    details,
    movesPods: strategy !== "kube-proxy-only",
    inPlace: strategy === "node-by-node",
    options: {
      strategy,
      accept: options.accept ?? [],
      tunnelPort: options.tunnelPort ?? 8473,
      mtu: options.mtu ?? 0,
      routing: options.routing ?? "vxlan",
      drainForce: options.drainForce ?? false,
      drainDeleteEmptyDirData: options.drainDeleteEmptyDirData ?? false,
      policy: options.policy ?? "off",
    },
  };
}
