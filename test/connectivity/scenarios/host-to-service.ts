// SPDX-License-Identifier: Apache-2.0
import type { Scenario } from "../suite.ts";
import { backendOf, echoServicesOf, type World } from "../world.ts";

export const hostToService: Scenario<World> = {
  name: "host-to-service",
  description: "every node reaches every Service by its cluster address, over TCP and UDP",
  run: (t) =>
    t.pairs(t.world.hosts, echoServicesOf(t.world), async (host, service, a) => {
      const { pod } = backendOf(t.world, service);
      const answer = await t.world.probes.echo(a, host, service.url(t.family));
      a.equal("the pod that answered over HTTP", answer.pod, pod);
      const target = { protocol: "udp", host: service.address(t.family), port: service.port("udp") } as const;
      a.equal("the pod that answered over UDP", (await t.world.probes.dial(a, host, target)).pod, pod);
    }),
};
