// SPDX-License-Identifier: Apache-2.0
import type { Test } from "../suite.ts";
import type { World } from "../world.ts";
import { cidrCases } from "./cidr.ts";
import { clusterwideCases } from "./clusterwide.ts";
import { denyCases } from "./deny.ts";
import { egressCases } from "./egress.ts";
import { entityCases } from "./entities.ts";
import { ingressCases } from "./ingress.ts";
import type { PolicyScenario } from "./policy-scenario.ts";
import { portCases } from "./port-cases.ts";
import { byCilium, byNetworkPolicy } from "./two-kinds.ts";

interface PolicyTest extends Test<World> {
  scenarios: readonly PolicyScenario[];
}

/** They change what the pods of the test may do, so that each is alone with them. */
const alone = { alone: true, inTurn: true };

export const policyTests: readonly PolicyTest[] = [
  {
    name: "network-policy",
    description: "what NetworkPolicies allow passes, and nothing else",
    ...alone,
    scenarios: byNetworkPolicy([...ingressCases, ...egressCases, ...entityCases, ...cidrCases, ...portCases]),
  },
  {
    name: "policy-ingress",
    description: "CiliumNetworkPolicies say who gets in",
    ...alone,
    scenarios: byCilium(ingressCases),
  },
  {
    name: "policy-egress",
    description: "CiliumNetworkPolicies say what pods may send",
    ...alone,
    scenarios: byCilium(egressCases),
  },
  {
    name: "policy-deny",
    description: "what is denied, nothing allows",
    ...alone,
    scenarios: byCilium(denyCases),
  },
  {
    name: "policy-entities",
    description: "nodes, the world and the API server are peers",
    ...alone,
    scenarios: byCilium(entityCases),
  },
  {
    name: "policy-cidr",
    description: "peers by their addresses",
    ...alone,
    scenarios: byCilium(cidrCases),
  },
  {
    name: "policy-ports",
    description: "ports by number, range, name and protocol",
    ...alone,
    scenarios: byCilium(portCases),
  },
  {
    name: "policy-clusterwide",
    description: "CiliumClusterwideNetworkPolicies hold in the namespaces that they select",
    ...alone,
    scenarios: byCilium(clusterwideCases),
  },
];
