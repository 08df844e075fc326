// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { parsePolicy } from "../../agent/policy/validate.ts";
import { addressOf, inTier, isOn, makePolicies, nodeName } from "./made-policies.ts";

test("made policies can all be used, and the first ones do not depend on how many there are", () => {
  const [few, many] = [makePolicies(10, 500), makePolicies(1000, 500)];
  for (const policy of many.policies) assert.deepEqual(parsePolicy(policy).problems, []);
  assert.deepEqual(
    few.policies.map(({ spec }) => spec),
    many.policies.slice(0, 10).map(({ spec }) => spec),
  );
  assert.deepEqual(new Set(many.policies.map(({ kind }) => kind)).size, 3);
});

test("made pods have an address each, a hundred on a node, the first one on the first", () => {
  const { pods, nodes } = makePolicies(10, 500);
  assert.equal(new Set(pods.map(addressOf)).size, 1000);
  assert.equal(nodes.size, 10);
  assert.ok(isOn(pods[0]!, nodeName(0)));
  for (const node of nodes.keys()) assert.equal(pods.filter((pod) => isOn(pod, node)).length, 100);
});

test("a pod in another tier keeps everything else", () => {
  const [pod] = makePolicies(10, 50).pods;
  const { labels } = inTier(pod!, 1).metadata;
  assert.notEqual(labels!.tier, pod!.metadata.labels!.tier);
  assert.deepEqual({ ...labels, tier: "" }, { ...pod!.metadata.labels, tier: "" });
});
