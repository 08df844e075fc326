// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { emptyDetails } from "../inventory/empty-details.ts";
import type { Inventory, OldNetwork } from "../model/inventory.ts";
import {
  chooseAgentValues,
  formatPlan,
  formatPlanFile,
  makePlan,
  parsePlanFile,
  planSteps,
} from "./index.ts";
import { sampleInventory } from "./testing.ts";

const defaults = { routing: "vxlan" as const, tunnelPort: 8473, mtu: 0, modes: { policy: "off" as const } };

const on = (network: Partial<OldNetwork>, uplinkMtus: number[] = [], bgpPeers = 0): Inventory => {
  const details = emptyDetails();
  Object.assign(details.network, { uplinkMtus, bgpPeers });
  const sample = sampleInventory(2, { details });
  const { mtu: _, port: __, ...base } = sample.network;
  return { ...sample, network: { ...base, ...network } };
};

const kindnet = { kind: "kindnet", mode: "routes", encapsulation: "none" } as const;
const hostGw = { kind: "flannel", mode: "host-gw", encapsulation: "none" } as const;
const calico = { kind: "calico", mode: "bgp", encapsulation: "none" } as const;
const flannel = { kind: "flannel", mode: "vxlan", encapsulation: "vxlan", port: 8472 } as const;

const cases: { what: string; inventory: Inventory; values: string[] }[] = [
  { what: "kindnet", inventory: on(kindnet), values: ["routing=direct"] },
  {
    what: "bridge",
    inventory: on({ ...kindnet, kind: "bridge", mode: "bridge" }),
    values: ["routing=direct"],
  },
  {
    what: "host-gw, its MTU",
    inventory: on({ ...hostGw, mtu: 1400 }),
    values: ["routing=direct", "mtu=1400"],
  },
  { what: "host-gw, seen", inventory: on({ ...hostGw, mtu: 1500 }, [1500]), values: ["routing=direct"] },
  { what: "Calico without encapsulation", inventory: on(calico), values: ["routing=direct"] },
  { what: "Calico behind routers", inventory: on(calico, [], 2), values: [] },
  { what: "Calico for policy only", inventory: on({ ...calico, mode: "policy only" }), values: [] },
  { what: "routes of a cloud", inventory: on({ ...hostGw, mode: "alloc" }), values: [] },
  { what: "a cloud's own network", inventory: on({ ...kindnet, kind: "aws-vpc" }), values: [] },
  { what: "flannel by VXLAN", inventory: on(flannel), values: [] },
  { what: "the same MTU, seen", inventory: on({ ...flannel, mtu: 1450 }, [1500]), values: [] },
  { what: "the same MTU, not seen", inventory: on({ ...flannel, mtu: 1450 }), values: ["mtu=1450"] },
  { what: "a smaller MTU", inventory: on({ ...flannel, mtu: 1370 }, [1500]), values: ["mtu=1370"] },
  {
    what: "IPIP, whose MTU ours cannot keep",
    inventory: on({ ...calico, mode: "ipip", encapsulation: "ipip", mtu: 1480 }, [1500]),
    values: [],
  },
  { what: "our port", inventory: on({ ...flannel, port: 8473 }), values: ["tunnelPort=8474"] },
];

for (const { what, inventory, values } of cases)
  test(`the agent's values for ${what}: ${values.join(" ") || "the defaults"}`, () => {
    const chosen = chooseAgentValues(inventory, { strategy: "node-by-node", defaults, given: new Set() });
    assert.deepEqual(
      chosen.map(({ value }) => value),
      values,
    );
  });

const withPolicies = (enforcesPolicy: boolean, counts: Partial<Inventory["counts"]>): Inventory => {
  const { counts: base, ...inventory } = on({ ...flannel, enforcesPolicy });
  return { ...inventory, counts: { ...base, ...counts } };
};

test("policies: enforced where they are today, audited where they are not, left to whoever has set them", () => {
  const otherPolicies = { "CiliumNetworkPolicy.cilium.io": 1, "NetworkPolicy.crd.projectcalico.org": 1 };
  const choose = (inventory: Inventory, policy: "off" | "audit" = "off", given: string[] = []): string[] =>
    chooseAgentValues(inventory, {
      strategy: "node-by-node",
      defaults: { ...defaults, modes: { policy } },
      given: new Set(given),
    }).map(({ value }) => value);
  assert.deepEqual(choose(withPolicies(true, { networkPolicies: 2 })), ["modes.policy=enforce"]);
  assert.deepEqual(choose(withPolicies(true, { otherPolicies })), ["modes.policy=enforce"]);
  assert.deepEqual(choose(withPolicies(false, { networkPolicies: 2 })), ["modes.policy=audit"]);
  assert.deepEqual(choose(withPolicies(true, {})), []);
  assert.deepEqual(choose(withPolicies(true, { networkPolicies: 2 }), "audit"), []);
  assert.deepEqual(choose(withPolicies(true, { networkPolicies: 2 }), "off", ["modes.policy"]), []);
});

test("a plan that chose to audit enforces at its end, after the old network is gone; no other does", () => {
  const kindsWith = (enforcesPolicy: boolean, agentValues: string[] = []): string[] => {
    const inventory = withPolicies(enforcesPolicy, { networkPolicies: 2 });
    const given = new Set(agentValues.map((value) => value.split("=")[0]!));
    const settings = chooseAgentValues(inventory, { strategy: "node-by-node", defaults, given });
    const plan = makePlan(inventory, { agentValues }, [], new Date(0), settings);
    assert.deepEqual(parsePlanFile(formatPlanFile(plan), "test"), plan);
    return [...new Set(planSteps(plan).map(({ kind }) => kind))];
  };
  const kinds = kindsWith(false);
  const place = kinds.indexOf("enforce-policies");
  assert.ok(place > kinds.indexOf("verify-residue") && place < kinds.indexOf("finish"), kinds.join(" "));
  assert.equal(kinds[place + 1], "verify-policies");
  assert.ok(!kinds.includes("compare-policies"));
  const enforcing = kindsWith(true);
  assert.ok(!enforcing.includes("enforce-policies"));
  assert.equal(enforcing.indexOf("compare-policies"), enforcing.indexOf("start-probes") + 1);
  assert.equal(enforcing.indexOf("verify-policies"), enforcing.indexOf("finish") - 1);
  const audited = kindsWith(true, ["modes.policy=audit"]);
  assert.ok(!audited.includes("compare-policies") && !audited.includes("verify-policies"));
  assert.ok(!kindsWith(false, ["modes.policy=audit"]).includes("enforce-policies"));
});

test("what was given is not chosen again, and a strategy that moves no pods needs only a port", () => {
  const inventory = on({ ...kindnet, port: 8473, mtu: 1400 });
  const given = new Set(["routing", "mtu", "tunnelPort"]);
  assert.deepEqual(chooseAgentValues(inventory, { strategy: "node-by-node", defaults, given }), []);
  const only = chooseAgentValues(inventory, { strategy: "kube-proxy-only", defaults, given: new Set() });
  assert.deepEqual(
    only.map(({ value }) => value),
    ["tunnelPort=8474"],
  );
});

test("a plan carries them before what was asked for, shows why, and survives its file", () => {
  const inventory = on(kindnet);
  const settings = chooseAgentValues(inventory, { strategy: "node-by-node", defaults, given: new Set() });
  const plan = makePlan(inventory, { agentValues: ["image=x:1"] }, [], new Date(0), settings);
  assert.deepEqual(plan.options.agentValues, ["routing=direct", "image=x:1"]);
  const text = formatPlan(plan);
  assert.match(text, /routing=direct +kindnet \(routes\) sends packets between nodes as they are/);
  assert.match(text, /image=x:1 +as asked for/);
  assert.deepEqual(parsePlanFile(formatPlanFile(plan), "test"), plan);
});
