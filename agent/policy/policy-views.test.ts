// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { policyFlagBits, policyFlags } from "../datapath-layout.ts";
import type { PolicyState } from "./policy-state.ts";
import { viewEndpoint, viewPolicy } from "./policy-views.ts";
import { parsePolicy } from "./validate.ts";

const object = {
  apiVersion: "networking.k8s.io/v1",
  kind: "NetworkPolicy",
  metadata: { name: "web", namespace: "shop" },
  spec: { podSelector: { matchLabels: { app: "web" } }, ingress: [{}, {}], policyTypes: ["Ingress"] },
};
const { policies } = parsePolicy(object);
const inForce: PolicyState = { object, problem: undefined, judgedBy: policies, inForce: true };
const labels = (app: string) =>
  new Map([
    ["k8s:app", app],
    ["k8s:io.kubernetes.pod.namespace", "shop"],
  ]);
const judged = [
  { pod: "shop/a", labels: labels("web") },
  { pod: "shop/b", labels: labels("db") },
];

test("a policy in force tells whom it is about; one that is not, why, and what stays in force", () => {
  const view = {
    ...{ kind: "NetworkPolicy", namespace: "shop", name: "web", inForce: true, message: "" },
    ...{ tier: "namespace", isolates: { ingress: true, egress: false }, rules: 2, pods: ["shop/a"] },
  };
  assert.deepEqual(viewPolicy(inForce, judged), view);
  const wrong = { ...inForce, problem: "spec: it is wrong", inForce: false };
  const message = "spec: it is wrong (the version before it stays in force)";
  assert.deepEqual(viewPolicy(wrong, judged), { ...view, inForce: false, message });
  const never = viewPolicy({ ...wrong, judgedBy: undefined }, judged);
  assert.deepEqual([never.message, never.rules, never.pods], ["spec: it is wrong", 0, []]);
});

test("a pod tells how it is judged in each direction", () => {
  const endpoint = { pod: "shop/a", addresses: ["10.0.0.1"] };
  const { POLICY_INGRESS, POLICY_EGRESS, POLICY_AUDIT } = policyFlags;
  const modes = (flags: number) => {
    const word = (7 << policyFlagBits) | flags;
    const { ingress, egress } = viewEndpoint(endpoint, { labels: labels("web"), identity: 300, word }, []);
    return [ingress, egress];
  };
  assert.deepEqual(modes(POLICY_INGRESS), ["enforced", "none"]);
  assert.deepEqual(modes(POLICY_INGRESS | POLICY_EGRESS | POLICY_AUDIT), ["audited", "audited"]);
  assert.deepEqual(viewEndpoint(endpoint, { labels: labels("web"), identity: 300, word: 0 }, [inForce]), {
    ...{ pod: "shop/a", addresses: ["10.0.0.1"], identity: 300, ingress: "none", egress: "none" },
    labels: { "k8s:app": "web", "k8s:io.kubernetes.pod.namespace": "shop" },
    policies: ["NetworkPolicy shop/web"],
  });
  const unknown = viewEndpoint(endpoint);
  assert.deepEqual([unknown.identity, unknown.labels, unknown.policies], [0, {}, []]);
});
