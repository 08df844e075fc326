// SPDX-License-Identifier: Apache-2.0
import { type PolicyScenario, policyScenario, type Specs } from "./policy-scenario.ts";

/** What policies of both kinds say, or of one of them. */
export interface TwoKinds {
  name: string;
  description: string;
  cilium?: Specs;
  network?: Specs;
  passes: readonly string[];
  denied: readonly string[];
}

/** The scenarios by Cilium's kinds. */
export const byCilium = (cases: readonly TwoKinds[]): PolicyScenario[] =>
  cases.flatMap(({ cilium, network: _, ...rest }) =>
    cilium === undefined ? [] : [policyScenario({ ...rest, specs: cilium })],
  );

/** The same by NetworkPolicy, with `-knp` after their names. */
export const byNetworkPolicy = (cases: readonly TwoKinds[]): PolicyScenario[] =>
  cases.flatMap(({ cilium: _, network, name, ...rest }) =>
    network === undefined ? [] : [policyScenario({ ...rest, name: `${name}-knp`, specs: network })],
  );
