// SPDX-License-Identifier: Apache-2.0
import { usablePolicies } from "../inventory/policies.ts";
import type { Finding } from "../model/inventory.ts";
import { block, type CheckContext, info, warn } from "./check.ts";

type Words = (policies: string, network: string) => Finding;
type ByMode = Record<CheckContext["options"]["policy"], Words>;

const open: Words = (policies, network) =>
  block({
    id: "policy-not-enforced",
    object: "cluster",
    problem: `${network} enforces ${policies}, and the agent is told not to: pods of switched nodes would be open`,
    remedy: "Leave modes.policy to the plan, or accept it: --accept policy-not-enforced.",
  });

const ofOneThatEnforces: ByMode = {
  off: open,
  audit: open,
  enforce: (policies, network) =>
    info({
      id: "policy-goes-along",
      object: "cluster",
      problem: `${network} enforces ${policies}; on each node the agent does from the moment when it is switched`,
      remedy: "See shunt status for policies that cannot be used.",
    }),
};

const effective =
  (what: string, remedy: string): Words =>
  (policies, network) =>
    warn({
      id: "policy-becomes-effective",
      object: "cluster",
      problem: `${network} does not enforce ${policies}: ${what}`,
      remedy,
    });

const ofOneThatDoesNot: ByMode = {
  off: effective(
    "the agent is told not to either",
    "With modes.policy=audit it counts what they would drop, and drops nothing.",
  ),
  audit: effective(
    "the agent counts what they would drop; a plan that chose this enforces them at its end if that was nothing",
    "See shunt policy audit-report while it runs; with --set modes.policy=audit they stay audited.",
  ),
  enforce: effective(
    "traffic that flows today may stop when its node is switched",
    "Set modes.policy=audit at first, and read what it would drop.",
  ),
};

/** Policies must hold throughout: what is enforced today and would not be tomorrow is said before. */
export function checkPolicies({ inventory, details, options, movesPods }: CheckContext): Finding[] {
  if (!movesPods) return [];
  const { networkPolicies, otherPolicies } = inventory.counts;
  const { kind: network, enforcesPolicy } = inventory.network;
  const found: Finding[] = [];
  const usable = Object.entries(otherPolicies).filter(([kind]) => usablePolicies.has(kind));
  const count = usable.reduce((sum, [, one]) => sum + one, networkPolicies);
  if (count > 0)
    found.push(
      (enforcesPolicy ? ofOneThatEnforces : ofOneThatDoesNot)[options.policy](
        `${count} ${count === 1 ? "policy" : "policies"} in ${details.policies.namespacesWithPolicy} of ${details.policies.namespaces} namespaces`,
        network,
      ),
    );
  for (const [kind, count] of Object.entries(otherPolicies)) {
    if (usablePolicies.has(kind)) continue;
    found.push(
      block({
        id: "policy-of-another-kind",
        object: "cluster",
        problem: `${count} objects of ${kind} mean nothing without the old network`,
        remedy:
          "Write them anew as NetworkPolicy, CiliumNetworkPolicy or ClusterNetworkPolicy, or accept their end: --accept policy-of-another-kind.",
      }),
    );
  }
  if (networkPolicies === 0 && Object.keys(otherPolicies).length === 0)
    found.push(
      info({
        id: "no-policies",
        object: "cluster",
        problem: `no NetworkPolicy in any of ${details.policies.namespaces} namespaces: every pod reaches every other`,
        remedy: "Not the migration's business; worth a look afterwards, from what flows.",
      }),
    );
  return found;
}
