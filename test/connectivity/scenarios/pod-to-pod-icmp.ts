// SPDX-License-Identifier: Apache-2.0
import type { Scenario } from "../suite.ts";
import { echoesOf, type World } from "../world.ts";

export const podToPodIcmp: Scenario<World> = {
  name: "pod-to-pod-icmp",
  description: "every client gets an ICMP echo reply from every echo pod",
  run: (t) =>
    t.pairs(t.world.clients, echoesOf(t.world), async (client, echo, a) => {
      const address = echo.address(t.family);
      a.ok(await t.world.probes.ping(a, client, address), `no echo reply from ${address}`);
    }),
};
