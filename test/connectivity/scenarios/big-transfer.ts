// SPDX-License-Identifier: Apache-2.0
import type { Scenario } from "../suite.ts";
import { echoesOf, type World } from "../world.ts";

const size = 10 * 1024 * 1024;

export const bigTransfer: Scenario<World> = {
  name: "big-transfer",
  description: "10 MiB go from and to an echo pod over one connection each",
  run: (t) =>
    t.pairs(t.world.clients.slice(0, 1), echoesOf(t.world), async (client, echo, a) => {
      const { probes } = t.world;
      const url = echo.url(t.family);
      const toNull = { args: ["-o", "/dev/null"] };
      const down = await probes.http(a, client, `${url}/bytes?size=${size}`, toNull);
      a.equal(`the transfer down (${down.error})`, [down.status, down.bytes], [200, size]);
      const upload = { pipeFrom: `head -c ${size} /dev/zero`, args: ["-T", "-", "-X", "POST"] };
      a.equal("the bytes that arrived", (await probes.echo(a, client, url, upload)).bytes, size);
    }),
};
