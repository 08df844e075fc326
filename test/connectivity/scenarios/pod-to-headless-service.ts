// SPDX-License-Identifier: Apache-2.0
import type { Scenario } from "../suite.ts";
import { echoesOf, type World } from "../world.ts";

export const podToHeadlessService: Scenario<World> = {
  name: "pod-to-headless-service",
  description: "a headless Service's name leads to one of its pods, by the pod's own address",
  run: (t) =>
    t.each(t.world.clients, async (client, a) => {
      const service = t.world.services["echo-headless"];
      const url = `http://${service.dnsName}:${service.port("http")}`;
      const answer = await t.world.probes.echo(a, client, url, { family: t.family });
      const pods = echoesOf(t.world);
      a.oneOf(
        "the pod that answered",
        answer.pod,
        pods.map((echo) => echo.pod),
      );
      a.oneOf(
        "the address it was reached at",
        answer.local,
        pods.map((echo) => echo.address(t.family)),
      );
    }),
};
