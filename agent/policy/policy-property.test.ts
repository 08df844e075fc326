// SPDX-License-Identifier: Apache-2.0
import { test } from "node:test";
import fc from "fast-check";
import {
  clusterPolicyProperty,
  everyKindProperty,
  networkPolicyProperty,
} from "./testing-policy-properties.ts";

test("NetworkPolicies mean what their API reference says, in decide() and in the tables", () => {
  fc.assert(networkPolicyProperty, { numRuns: 300 });
});

test("ClusterNetworkPolicies go before and after NetworkPolicies as their API reference says", () => {
  fc.assert(clusterPolicyProperty, { numRuns: 300 });
});

test("with Cilium's kinds and admin's too, tables say what decide() says", () => {
  fc.assert(everyKindProperty, { numRuns: 300 });
});
