// SPDX-License-Identifier: Apache-2.0
import type { Scenario } from "../suite.ts";
import { echoesOf, sourcesOf, type World } from "../world.ts";

export const podToPod: Scenario<World> = {
  name: "pod-to-pod",
  description: "every client gets an HTTP answer from every echo pod, which sees the client's own address",
  run: (t) =>
    t.pairs(t.world.clients, echoesOf(t.world), async (client, echo, a) => {
      for (const port of ["http", "second"] as const) {
        const answer = await t.world.probes.echo(a, client, echo.url(t.family, port));
        a.equal("the pod that answered", answer.pod, echo.pod);
        a.oneOf("the source address that it saw", answer.client, sourcesOf(t.world, client, t.family));
      }
    }),
};
