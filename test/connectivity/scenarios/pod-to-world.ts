// SPDX-License-Identifier: Apache-2.0
import type { Scenario } from "../suite.ts";
import { needsOutside, type World } from "../world.ts";

const byScheme = (scheme: "http" | "https"): Scenario<World> => ({
  name: `pod-to-world-${scheme}`,
  description: `every client gets an ${scheme.toUpperCase()} answer from outside the cluster, by name`,
  skip: needsOutside,
  run: (t) =>
    t.each(t.world.clients, async (client, a) => {
      const url = `${scheme}://${t.world.outside.name}/`;
      const result = await t.world.probes.http(a, client, url, { family: t.family });
      a.ok(result.curlExit === 0, `no answer from ${url}: ${result.error}`);
      a.ok(result.status > 0 && result.status < 500, `${url} answered with status ${result.status}`);
    }),
});

export const podToWorldHttp = byScheme("http");
export const podToWorldHttps = byScheme("https");
