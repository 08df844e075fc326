// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { it } from "node:test";
import { plugCommands, switchCommands, uplinkCommands } from "./network.ts";
import { planCluster } from "./plan.ts";

const plan = (extra = {}) => planCluster({ name: "demo", env: {}, ...extra }, "/tmp/kubeconfig");

it("names and addresses nodes in order, the control plane first", () => {
  const { nodes } = plan({ workers: 3, ipFamily: "dual" });
  assert.deepEqual(
    nodes.map(({ name, addresses, zone }) => [name, ...addresses, zone]),
    [
      ["demo-control-plane", "172.30.0.2", "fd30::2", "zone-a"],
      ["demo-worker", "172.30.0.3", "fd30::3", "zone-a"],
      ["demo-worker2", "172.30.0.4", "fd30::4", "zone-b"],
      ["demo-worker3", "172.30.0.5", "fd30::5", "zone-c"],
    ],
  );
});

it("plans an IPv6 cluster without IPv4", () => {
  const { podCidrs, serviceCidrs, dnsServiceIp } = plan({ ipFamily: "ipv6" });
  assert.deepEqual(
    [podCidrs, serviceCidrs, dnsServiceIp],
    [["fd10:244::/56"], ["fd10:96::/112"], "fd10:96::a"],
  );
});

for (const name of ["", "-a", "a-", "A", "a/b", "..", "a".repeat(41)])
  it(`refuses the name "${name}"`, () => assert.throws(() => plan({ name }), { code: "Usage" }));

for (const workers of [-1, 1.5, 21, Number.NaN])
  it(`refuses ${workers} workers`, () => assert.throws(() => plan({ workers }), { code: "Usage" }));

it("wires nodes without a device in the machine's own namespace, and routes nothing back to pods", () => {
  const four = plan();
  assert.deepEqual(plugCommands(1, 42), [
    "link add node1 type veth peer name eth0 netns 42",
    "link set node1 master br0",
    "link set node1 up",
  ]);
  assert.deepEqual(uplinkCommands(four, four.nodes[1]!), [
    "address add 172.30.0.3/24 dev eth0",
    "link set eth0 up",
    "route add default via 172.30.0.1 dev eth0",
  ]);
  assert.equal(
    switchCommands().some((command) => command.startsWith("route")),
    false,
  );
});
