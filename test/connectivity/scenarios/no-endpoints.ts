// SPDX-License-Identifier: Apache-2.0
import type { Scenario } from "../suite.ts";
import type { World } from "../world.ts";

export const noEndpoints: Scenario<World> = {
  name: "service-without-endpoints",
  description: "a connection to a Service without pods is refused at once, not left to time out",
  run: (t) =>
    t.each([...t.world.clients, ...t.world.hosts], async (client, a) => {
      const url = t.world.services["echo-nobody"].url(t.family);
      const result = await t.world.probes.http(a, client, url);
      a.equal(`curl's exit code (${result.error || result.status})`, result.curlExit, 7);
    }),
};
