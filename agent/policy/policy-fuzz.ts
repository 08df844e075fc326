// SPDX-License-Identifier: Apache-2.0
// Looks for policies that break the parser or the compiler, or let through what they should not.
import fc from "fast-check";
import {
  brokenPolicyProperty,
  clusterPolicyProperty,
  everyKindProperty,
  networkPolicyProperty,
} from "./testing-policy-properties.ts";

const properties: Record<string, { property: fc.IProperty<any>; runs: number }> = {
  "odd objects": { property: brokenPolicyProperty(), runs: 2000 },
  "NetworkPolicy against its model": { property: networkPolicyProperty, runs: 50 },
  "ClusterNetworkPolicy against its model": { property: clusterPolicyProperty, runs: 50 },
  "every kind against decide()": { property: everyKindProperty, runs: 50 },
};

export const fuzzNames = Object.keys(properties);

/** Tries one of `fuzzNames` some times, about a second; what was found is in words, made as small as it can be. */
export function fuzzPolicies(name: string, seed: number): { cases: number; finding: string | undefined } {
  const { property, runs } = properties[name]!;
  const details = fc.check(property, { seed, numRuns: runs });
  const finding = details.failed ? `${name}, seed ${seed}: ${fc.defaultReportMessage(details)}` : undefined;
  return { cases: details.numRuns, finding };
}
