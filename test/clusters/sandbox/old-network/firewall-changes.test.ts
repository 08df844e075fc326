// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { it } from "node:test";
import { type FirewallTable, firewallChanges } from "./firewall-changes.ts";

const wanted: FirewallTable = {
  table: "nat",
  chains: { OWN: ["-s 10.0.0.0/8 -j RETURN", "-j MASQUERADE"] },
  hooks: [{ chain: "POSTROUTING", rule: "-j OWN" }],
};

const inPlace = `*nat
:POSTROUTING ACCEPT [3:180]
:OWN - [0:0]
-A POSTROUTING -j OWN
-A OWN -s 10.0.0.0/8 -j RETURN
-A OWN -j MASQUERADE
COMMIT
`;

it("changes nothing that is in place", () => assert.equal(firewallChanges(wanted, inPlace), ""));

it("makes what is missing in an empty table", () =>
  assert.equal(
    firewallChanges(wanted, ""),
    "*nat\n:OWN - [0:0]\n-A OWN -s 10.0.0.0/8 -j RETURN\n-A OWN -j MASQUERADE\n-A POSTROUTING -j OWN\nCOMMIT\n",
  ));

it("writes a chain anew whose rules differ, and leaves the hook", () =>
  assert.equal(
    firewallChanges(wanted, inPlace.replace("-A OWN -j MASQUERADE\n", "")),
    "*nat\n:OWN - [0:0]\n-A OWN -s 10.0.0.0/8 -j RETURN\n-A OWN -j MASQUERADE\nCOMMIT\n",
  ));

it("puts a first hook before what is there", () => {
  const first = { ...wanted, hooks: [{ ...wanted.hooks[0]!, first: true }] };
  assert.match(
    firewallChanges(first, inPlace.replace("-A POSTROUTING -j OWN\n", "")),
    /^-I POSTROUTING 1 -j OWN$/m,
  );
});

it("removes chains of its own that are not wanted, and no others", () => {
  const saved = inPlace.replace(":OWN", ":own-gone - [0:0]\n:other - [0:0]\n:OWN");
  assert.equal(
    firewallChanges({ ...wanted, ownPrefixes: ["own-"] }, saved),
    "*nat\n:own-gone - [0:0]\n-X own-gone\nCOMMIT\n",
  );
});
