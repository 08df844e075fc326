// SPDX-License-Identifier: Apache-2.0
import type { Scenario } from "../suite.ts";
import { echoesOf, type World } from "../world.ts";

export const hostToPod: Scenario<World> = {
  name: "host-to-pod",
  description: "every node gets HTTP and ICMP answers from every echo pod, on the same node and on another",
  run: (t) =>
    t.pairs(t.world.hosts, echoesOf(t.world), async (host, echo, a) => {
      const answer = await t.world.probes.echo(a, host, echo.url(t.family));
      a.equal("the pod that answered", answer.pod, echo.pod);
      const address = echo.address(t.family);
      a.ok(await t.world.probes.ping(a, host, address), `no echo reply from ${address}`);
    }),
};
