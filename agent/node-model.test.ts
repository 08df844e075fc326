// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { test } from "node:test";
import { addressText } from "../lib/addresses.ts";
import { ipcacheEntry, ipcacheKey } from "./datapath-layout.ts";
import { stampConditions } from "./node-mode.ts";
import { ipcacheEntries, masqueradePorts, nodeFacts, underlayAddress } from "./node-model.ts";

const node = (name: string, addresses: string[], podCIDRs: string[]) =>
  nodeFacts({
    metadata: { name },
    spec: { podCIDRs },
    status: { addresses: addresses.map((address) => ({ type: "InternalIP", address })) },
  });
const own = node("a", ["172.30.0.2", "fd30::2"], ["10.244.1.0/24", "fd10:244:0:1::/64"]);
const other = node("b", ["172.30.0.3", "fd30::3"], ["10.244.2.0/24", "fd10:244:0:2::/64"]);

const readable = (routing: "vxlan" | "direct", isNeighbour = (_address: string) => true, beside = false) =>
  Object.fromEntries(
    [
      ...ipcacheEntries(own, [other], {
        routing,
        clusterPodCIDRs: [],
        ownAddresses: ["172.30.0.2"],
        isNeighbour,
        isBeside: () => beside,
      }),
    ].map(([, { key, value }]) => {
      const { prefixLength, address } = ipcacheKey.decode(key);
      const { flags, tunnelEndpoint } = ipcacheEntry.decode(value);
      return [`${addressText(address)}/${prefixLength}`, [flags, addressText(tunnelEndpoint)]];
    }),
  );

test("with vxlan, other nodes' pods are reached through the tunnel", () => {
  const entries = readable("vxlan");
  assert.deepEqual(entries["10.244.2.0/120"], [3, "172.30.0.3"]);
  assert.deepEqual(entries["fd10:244:0:2::/64"], [3, "172.30.0.3"]);
  assert.deepEqual(entries["172.30.0.3/128"], [4, "172.30.0.3"]);
  assert.deepEqual(entries["172.30.0.2/128"]?.[0], 4);
});

test("with direct routing they are in the cluster, without a tunnel", () => {
  const entries = readable("direct");
  assert.deepEqual(entries["10.244.2.0/120"], [10, "172.30.0.3"]);
  assert.deepEqual(entries["fd10:244:0:2::/64"], [10, "fd30::3"]);
  assert.deepEqual(entries["172.30.0.3/128"], [6, "172.30.0.3"]);
});

test("behind a router, the network's own routes lead to them", () => {
  assert.deepEqual(readable("direct", () => false)["10.244.2.0/120"], [2, "172.30.0.3"]);
});

test("beside another network, its routes come first, but not for the addresses of the nodes themselves", () => {
  const entries = readable("vxlan", () => true, true);
  assert.deepEqual(entries["10.244.2.0/120"], [35, "172.30.0.3"]);
  assert.deepEqual(entries["10.244.2.1/128"], [3, "172.30.0.3"]);
  assert.deepEqual(entries["fd10:244:0:2::1/128"], [3, "172.30.0.3"]);
});

test("a broken address of a Node is left out and reported", () => {
  const broken: string[] = [];
  const facts = nodeFacts(
    {
      metadata: { name: "x" },
      spec: { podCIDRs: ["10.0.0.0/99"] },
      status: { addresses: [{ type: "InternalIP", address: "nonsense" }] },
    },
    (why) => broken.push(why),
  );
  assert.deepEqual([facts.addresses, facts.podCIDRs, broken.length], [{}, [], 2]);
  assert.equal(underlayAddress(own, facts), undefined);
});

test("a condition keeps its time while its status stays", () => {
  const before = [
    { type: "Ready", status: "True", reason: "a", message: "", lastTransitionTime: "T0" },
  ] as const;
  const now = new Date("2030-01-01T00:00:00Z");
  const [same] = stampConditions([{ ...before[0], reason: "b" }], [...before], now);
  assert.equal(same?.lastTransitionTime, "T0");
  const [changed] = stampConditions([{ ...before[0], status: "False" }], [...before], now);
  assert.equal(changed?.lastTransitionTime, "2030-01-01T00:00:00.000Z");
});

test("masqueraded connections get the widest range of ports that nobody else uses", () => {
  const ephemeral = [32_768, 60_999] as const;
  const nodePorts = [30_000, 32_767] as const;
  const cases: [taken: (readonly [number, number])[], found: [number, number]][] = [
    [
      [ephemeral, nodePorts],
      [1024, 29_999],
    ],
    [
      [ephemeral, nodePorts, [8473, 8473]],
      [8474, 29_999],
    ],
    [
      [ephemeral, [1024, 29_000]],
      [61_000, 65_535],
    ],
    [
      [[10_000, 65_535], nodePorts],
      [1024, 9999],
    ],
    // Ranges that overlap, and nothing left of which to take.
    [
      [
        [1024, 40_000],
        [30_000, 65_535],
      ],
      [61_000, 65_535],
    ],
    [[[1, 65_535]], [61_000, 65_535]],
    [[], [1024, 65_535]],
  ];
  for (const [taken, [min, max]] of cases) assert.deepEqual(masqueradePorts(taken), { min, max });
});
