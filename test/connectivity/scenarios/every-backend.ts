// SPDX-License-Identifier: Apache-2.0
import { ShuntError } from "../../../lib/errors.ts";
import { formatCommand } from "../../../lib/format-command.ts";
import type { Scenario } from "../suite.ts";
import { echoesOf, needsTwoNodes, type World } from "../world.ts";

const requests = 40;

export const everyBackend: Scenario<World> = {
  name: "every-backend",
  description: `${requests} connections to a Service of several pods all succeed, and every pod gets some`,
  skip: needsTwoNodes,
  run: (t) =>
    t.each(t.world.clients, async (client, a) => {
      const url = t.world.services.echo.url(t.family);
      const urls = Array.from({ length: requests }, () => url);
      const words = ["-q", "-g", "-s", "-S", "--noproxy", "*", "-H", "Connection: close", "--max-time", "10"];
      const result = await t.world.probes.run(a, client, formatCommand("curl", [...words, ...urls]));
      if (result.exitCode !== 0) throw new ShuntError(`a request failed: ${result.stderr.trim()}`);
      const pods = [...result.stdout.matchAll(/"pod":"([^"]+)"/g)].map((match) => match[1]!);
      a.equal("the number of answers", pods.length, requests);
      a.equal(
        "the set of pods",
        [...new Set(pods)].sort(),
        echoesOf(t.world)
          .map((echo) => echo.pod)
          .sort(),
      );
    }),
};
