// SPDX-License-Identifier: Apache-2.0
import { hostPort } from "../../../lib/addresses.ts";
import type { Scenario } from "../suite.ts";
import { needsOutside, type World } from "../world.ts";

export const podToCidr: Scenario<World> = {
  name: "pod-to-cidr",
  description: "every client gets HTTP answers from several addresses outside the cluster",
  skip: needsOutside,
  run: (t) =>
    t.each(t.world.clients, async (client, a) => {
      for (const address of t.world.outside.addresses[t.family]) {
        const url = `http://${hostPort(address, 80)}/`;
        const result = await t.world.probes.http(a, client, url);
        a.ok(result.curlExit === 0 && result.status > 0, `no answer from ${url}: ${result.error}`);
      }
    }),
};
