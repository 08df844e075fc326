// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { parsePolicy } from "../../../agent/policy/validate.ts";
import { parseFlow } from "./connections.ts";
import { policyObjects } from "./objects.ts";
import type { Place } from "./policy-scenario.ts";
import { policyTests } from "./tests.ts";

const place: Place = {
  namespace: "shunt-test",
  otherNamespace: "shunt-test-host",
  prefixesOf: (end) =>
    end === "world2" ? ["192.0.2.20/32", "2001:db8::20/128"] : ["10.1.2.3/32", "fd00::3/128"],
};
const scenarios = policyTests.flatMap(({ scenarios }) => scenarios);

test("there are policies of both families of kinds, and their objects have names of their own", () => {
  const objects = scenarios.flatMap(({ name, specsAt }) =>
    policyObjects(name, place.namespace, specsAt(place)),
  );
  const count = (kind: string): number => objects.filter((one) => one.kind === kind).length;
  assert.ok(scenarios.length >= 45, `${scenarios.length} scenarios`);
  assert.ok(count("NetworkPolicy") >= 20 && count("CiliumNetworkPolicy") >= 40, `${objects.length} objects`);
  const names = objects.map(({ kind, metadata }) => `${kind} ${metadata.name}`);
  assert.equal(new Set(names).size, names.length);
});

test("every policy is valid, and about pods of the test alone", () => {
  for (const { name, specsAt } of scenarios)
    for (const object of policyObjects(name, place.namespace, specsAt(place))) {
      const { policies, problems } = parsePolicy(object);
      assert.deepEqual([problems, policies.length], [[], 1], name);
      const namesIt = policies[0]!.subject.some(({ values }) => values.includes(place.namespace));
      assert.ok(namesIt, `${name}: no namespace`);
    }
});

test("a flow that names what is not there is refused", () => {
  assert.deepEqual(parseFlow("client near -> echo: http udp"), {
    from: ["client", "near"],
    to: ["echo"],
    over: ["http", "udp"],
  });
  assert.throws(() => parseFlow("client -> nobody: http"), /no such nobody/);
  assert.throws(() => parseFlow("client echo: http"), /no such/);
});
