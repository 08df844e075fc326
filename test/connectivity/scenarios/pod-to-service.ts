// SPDX-License-Identifier: Apache-2.0
import type { Scenario } from "../suite.ts";
import { backendOf, echoServicesOf, sourcesOf, type World } from "../world.ts";

export const podToService: Scenario<World> = {
  name: "pod-to-service",
  description:
    "every client reaches every Service by its cluster address, and the pod behind it sees the client",
  run: (t) =>
    t.pairs(t.world.clients, echoServicesOf(t.world), async (client, service, a) => {
      const answer = await t.world.probes.echo(a, client, service.url(t.family));
      a.equal("the pod that answered", answer.pod, backendOf(t.world, service).pod);
      a.oneOf("the source address that it saw", answer.client, sourcesOf(t.world, client, t.family));
    }),
};
