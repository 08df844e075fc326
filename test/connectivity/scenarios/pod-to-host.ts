// SPDX-License-Identifier: Apache-2.0
import type { Scenario } from "../suite.ts";
import type { World } from "../world.ts";

export const podToHost: Scenario<World> = {
  name: "pod-to-host",
  description: "every client gets HTTP and ICMP answers from every node, its own and the control plane too",
  run: (t) =>
    t.pairs(t.world.clients, t.world.hosts, async (client, host, a) => {
      const answer = await t.world.probes.echo(a, client, host.url(t.family));
      a.equal("the node that answered", answer.node, host.node);
      const address = host.address(t.family);
      a.ok(await t.world.probes.ping(a, client, address), `no echo reply from ${address}`);
    }),
};
