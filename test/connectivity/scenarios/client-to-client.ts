// SPDX-License-Identifier: Apache-2.0
import type { Scenario } from "../suite.ts";
import type { World } from "../world.ts";

export const clientToClient: Scenario<World> = {
  name: "client-to-client",
  description: "every client gets an ICMP echo reply from every other client",
  run: async (t) => {
    for (const client of t.world.clients) {
      const others = t.world.clients.filter((other) => other !== client);
      await t.pairs([client], others, async (from, to, a) => {
        const address = to.address(t.family);
        a.ok(await t.world.probes.ping(a, from, address), `no echo reply from ${address}`);
      });
    }
  },
};
