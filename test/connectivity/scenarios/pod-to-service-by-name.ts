// SPDX-License-Identifier: Apache-2.0
import type { Scenario } from "../suite.ts";
import { backendOf, echoServicesOf, type World } from "../world.ts";

export const podToServiceByName: Scenario<World> = {
  name: "pod-to-service-by-name",
  description: "every client reaches every Service by its short and by its full name",
  run: (t) =>
    t.pairs(t.world.clients, echoServicesOf(t.world), async (client, service, a) => {
      for (const name of [service.name, service.dnsName]) {
        const url = `http://${name}:${service.port("http")}`;
        const answer = await t.world.probes.echo(a, client, url, { family: t.family });
        a.equal("the pod that answered", answer.pod, backendOf(t.world, service).pod);
      }
    }),
};
