// SPDX-License-Identifier: Apache-2.0
import type { Finding } from "../model/inventory.ts";
import { block, type CheckContext, info, warn } from "./check.ts";

/** Kinds that Shunt's policy layer reads, beside the standard one. */
const ours = new Set(["CiliumNetworkPolicy.cilium.io", "CiliumClusterwideNetworkPolicy.cilium.io"]);

/** Policies must hold throughout: what is enforced today and would not be tomorrow is said before. */
export function checkPolicies({ inventory, details, options, movesPods }: CheckContext): Finding[] {
  if (!movesPods) return [];
  const { networkPolicies, otherPolicies } = inventory.counts;
  const found: Finding[] = [];
  const enforced = inventory.network.enforcesPolicy;
  if (networkPolicies > 0 && enforced && !options.policyLayer)
    found.push(
      block({
        id: "policy-not-enforced",
        object: "cluster",
        problem: `${networkPolicies} NetworkPolicies in ${details.policies.namespacesWithPolicy} of ${details.policies.namespaces} namespaces are enforced by ${inventory.network.kind}; the agent of this version does not enforce them, so pods of switched nodes would be open`,
        remedy: "Wait for a version with the policy layer, or accept it: --accept policy-not-enforced.",
      }),
    );
  if (networkPolicies > 0 && !enforced)
    found.push(
      warn({
        id: "policy-becomes-effective",
        object: "cluster",
        problem: `${networkPolicies} NetworkPolicies exist that ${inventory.network.kind} does not enforce: with an agent that does, traffic that flows today may stop`,
        remedy: "Leave the policy layer at audit at first and read what it would drop.",
      }),
    );
  for (const [kind, count] of Object.entries(otherPolicies)) {
    if (ours.has(kind)) {
      if (!options.policyLayer && enforced)
        found.push(
          block({
            id: "policy-not-enforced",
            object: "cluster",
            problem: `${count} objects of ${kind} are enforced by ${inventory.network.kind}; the agent of this version does not enforce them`,
            remedy: "Wait for a version with the policy layer, or accept it: --accept policy-not-enforced.",
          }),
        );
      continue;
    }
    found.push(
      block({
        id: "policy-of-another-kind",
        object: "cluster",
        problem: `${count} objects of ${kind} mean nothing without the old network`,
        remedy:
          "Write them anew as NetworkPolicy, CiliumNetworkPolicy or CiliumClusterwideNetworkPolicy, or accept their end: --accept policy-of-another-kind.",
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
