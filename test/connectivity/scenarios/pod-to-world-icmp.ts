// SPDX-License-Identifier: Apache-2.0
import type { Scenario } from "../suite.ts";
import { needsOutside, type World } from "../world.ts";

export const podToWorldIcmp: Scenario<World> = {
  name: "pod-to-world-icmp",
  description: "every client gets an ICMP echo reply from outside the cluster, where its node gets one",
  skip: needsOutside,
  run: async (t) => {
    const address = t.world.outside.addresses[t.family][0]!;
    for (const client of t.world.clients)
      await t.action(client.name, async (a) => {
        a.ok(await t.world.probes.ping(a, client, address), `no echo reply from ${address}`);
      });
  },
};
