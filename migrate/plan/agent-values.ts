// SPDX-License-Identifier: Apache-2.0

import { podMtus } from "../inventory/pod-mtu.ts";
import { usablePolicies } from "../inventory/policies.ts";
import type { Inventory } from "../model/inventory.ts";
import type { AgentSetting, Strategy } from "../model/plan.ts";

/** The agent's values as they would be without a choice of ours. */
export interface AgentDefaults {
  routing: "vxlan" | "direct";
  tunnelPort: number;
  mtu: number;
  modes: { policy: "off" | "audit" | "enforce" };
}

export interface AgentChoice {
  strategy: Strategy;
  defaults: AgentDefaults;
  /** Values that somebody has set: they are not ours to choose. */
  given: ReadonlySet<string>;
}

/** The agent's values that this cluster asks for, each with its reason; none where the defaults are right. */
export function chooseAgentValues(inventory: Inventory, choice: AgentChoice): AgentSetting[] {
  const { strategy, defaults, given } = choice;
  if (strategy === "new-cluster") return [];
  const chosen: AgentSetting[] = [];
  const movesPods = strategy !== "kube-proxy-only";
  const why = movesPods && !given.has("routing") ? whyDirect(inventory) : undefined;
  if (why !== undefined && defaults.routing !== "direct")
    chosen.push({ value: "routing=direct", reason: why });
  const routing = why === undefined ? defaults.routing : "direct";
  if (movesPods && !given.has("mtu")) chosen.push(...mtuOf(inventory, routing, defaults.mtu));
  if (movesPods && !given.has("modes.policy") && defaults.modes.policy === "off")
    chosen.push(...policyOf(inventory));
  if (!given.has("tunnelPort")) chosen.push(...tunnelPortOf(inventory, defaults.tunnelPort));
  return chosen;
}

const plain = new Set(["kindnet", "bridge", "flannel", "canal", "calico"]);
/** Without encapsulation too, but others route: a cloud, or nobody. */
const routedByOthers = new Set(["alloc", "policy only"]);

/** Why nodes can send pods' packets to each other as they are; undefined when that is not certain. */
function whyDirect({ network, details }: Inventory): string | undefined {
  const { kind, mode, encapsulation } = network;
  if (encapsulation !== "none" || !plain.has(kind) || routedByOthers.has(mode)) return undefined;
  // With routers that learn routes from the old network, nodes need not be neighbours.
  if ((details?.network.bgpPeers ?? 0) > 0) return undefined;
  return `${kind} (${mode}) sends packets between nodes as they are; a tunnel would take 50 bytes from every pod's MTU while old and new pods talk to each other`;
}

function mtuOf(inventory: Inventory, routing: "vxlan" | "direct", configured: number): AgentSetting[] {
  const { old, ours, seen } = podMtus(inventory, routing);
  if (configured !== 0 || old === undefined || ours === undefined || old < 1280) return [];
  // Uplinks that nobody saw may be larger than the old network's MTU tells.
  if (old > ours || (old === ours && seen)) return [];
  const reason =
    ours > old
      ? `pods have ${old} bytes now and would get ${ours}: larger packets would not reach old pods`
      : `pods have ${old} bytes now, whatever the nodes' uplinks can carry`;
  return [{ value: `mtu=${old}`, reason }];
}

/** Chosen where policies come into effect with the migration: its end enforces them. */
export const auditAtFirst = "modes.policy=audit";

/** How many policies there are that the agent reads. */
export function policiesOf({ counts }: Inventory): number {
  const ours = Object.entries(counts.otherPolicies).filter(([kind]) => usablePolicies.has(kind));
  return ours.reduce((sum, [, one]) => sum + one, counts.networkPolicies);
}

/** Policies hold on a switched node as they do on the others. */
function policyOf(inventory: Inventory): AgentSetting[] {
  const { network } = inventory;
  const count = policiesOf(inventory);
  if (count === 0) return [];
  const policies = count === 1 ? "policy" : "policies";
  return network.enforcesPolicy
    ? [{ value: "modes.policy=enforce", reason: `${network.kind} enforces ${count} ${policies}` }]
    : [
        {
          value: auditAtFirst,
          reason: `${network.kind} does not enforce ${count} ${policies}: what they deny is counted, and dropped from the end on if that was nothing`,
        },
      ];
}

function tunnelPortOf({ network }: Inventory, planned: number): AgentSetting[] {
  if (network.port !== planned) return [];
  const free = planned < 65_535 ? planned + 1 : planned - 1;
  return [{ value: `tunnelPort=${free}`, reason: `${network.kind} tunnels by UDP port ${planned}` }];
}
