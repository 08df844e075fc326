// SPDX-License-Identifier: Apache-2.0
// What a migration does where the network and policies differ; the comparison itself is played by the test.
import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { type KubeClient, resourcePath } from "../../lib/kube.ts";
import { startTestApiServer, type TestApiServer } from "../../test/clusters/sandbox/apiserver/testing.ts";
import { agentDefinition, make } from "../compare/testing.ts";
import { connectWith, credentialsOf } from "../engine/testing.ts";
import type { PolicyComparison, PolicyDifference } from "../model/tools.ts";
import { makePlan, planSteps } from "../plan/index.ts";
import { sampleInventory } from "../plan/testing.ts";
import type { StepContext } from "../step-kind.ts";
import { comparePoliciesStep, verifyPoliciesStep } from "./compare-policies.ts";

const plan = makePlan(sampleInventory(1));
const difference: PolicyDifference = {
  ...{ from: "shop/web (10.0.0.1)", to: "shop/db (10.0.0.2)", port: 5432 },
  ...{ policies: "denied", reason: "NetworkPolicy shop/db isolates it", network: "open" },
};
let server: TestApiServer;
let kube: KubeClient;
let notes: Record<string, any>;

beforeEach(async () => {
  server = await startTestApiServer();
  kube = connectWith(credentialsOf(server.kubeconfig));
  await make(kube, agentDefinition());
  notes = {};
});
afterEach(async () => {
  kube?.close();
  await server?.stop();
});

function contextOf(found: Partial<PolicyComparison>, acceptDifferences = false): StepContext {
  const whole = {
    policies: 3,
    tried: 3,
    connections: 12,
    denied: 7,
    intercepted: 0,
    differences: [],
    errors: [],
    ...found,
  };
  return {
    ...{ kube, plan, step: planSteps(plan)[0]!, before: null, notes, migration: "m" },
    signal: AbortSignal.timeout(30_000),
    tools: {
      nodeTask: { run: async () => null },
      policies: { compare: async () => whole, acceptDifferences },
    },
    remember: async (more) => void Object.assign(notes, more),
    nodes: () => ({ old: [], switched: [] }),
    endedAt: () => undefined,
    report: () => undefined,
  };
}

test("a network that does what policies say lets the migration go on; nodes that were not asked are named", async () => {
  assert.equal(
    await comparePoliciesStep.apply(contextOf({ errors: [{ node: "a", message: "away" }] })),
    "the old network does what policies say with 12 connections, 7 of them denied; a could not be asked (away)",
  );
  assert.deepEqual(notes, { differences: 0, examples: [], gaps: ["a could not be asked (away)"] });
  assert.equal(
    await comparePoliciesStep.apply(contextOf({ connections: 0, intercepted: 3 })),
    "nothing was compared; 3 connections are taken by proxies of their pods; there was nothing to try",
  );
});

test("a difference stops it, says which, and what to do; accepted, it is told", async () => {
  const line =
    "shop/web (10.0.0.1) to shop/db (10.0.0.2), port 5432: denied by policies, and it passes (NetworkPolicy shop/db isolates it)";
  await assert.rejects(comparePoliciesStep.apply(contextOf({ differences: [difference] })), (error: any) => {
    assert.match(error.message, /something else than policies say with 1 of 12 connections:\n/);
    assert.ok(error.message.includes(line), error.message);
    assert.match(error.remedy, /--accept-policy-differences/);
    return error.code === "WaitsForOperator";
  });
  assert.deepEqual(notes, { differences: 1, examples: [line], gaps: [] });
  assert.match(
    (await comparePoliciesStep.apply(contextOf({ differences: [difference] }, true))) ?? "",
    /with 1 of 12 connections, 7 of them denied, which was accepted$/,
  );
});

test("where nobody is to be asked, or policies are not enforced everywhere, nothing is proved", async () => {
  const mode = async (name: string, policy: string) => {
    await kube.create(resourcePath("v1", "nodes"), { metadata: { name } });
    await kube.create(resourcePath("shunt.dev/v1alpha1", "nodes"), {
      ...{ apiVersion: "shunt.dev/v1alpha1", kind: "ShuntNode", metadata: { name } },
      status: { layers: { policy: { mode: policy } } },
    });
  };
  await mode("a", "enforce");
  const context = contextOf({});
  assert.equal(await verifyPoliciesStep.check(context), undefined);
  await mode("b", "audit");
  assert.equal(await verifyPoliciesStep.check(context), "policies are not enforced on b");
  const { nodeTask } = context.tools;
  for (const step of [comparePoliciesStep, verifyPoliciesStep])
    assert.equal(await step.check({ ...context, tools: { nodeTask } }), "no connectivity test was asked for");
});
