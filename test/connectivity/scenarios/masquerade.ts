// SPDX-License-Identifier: Apache-2.0
import { hostPort } from "../../../lib/addresses.ts";
import type { Scenario } from "../suite.ts";
import { clientAddressIn } from "../survey.ts";
import { hostOf, needsOutside, type World } from "../world.ts";

export const masquerade: Scenario<World> = {
  name: "masquerade",
  description: "the outside sees the address of the client's node, not the client's own",
  skip: (world, family) =>
    needsOutside(world, family) ??
    (world.outside.tellsClient[family] ? undefined : "the outside does not tell its clients' addresses"),
  run: (t) =>
    t.each(t.world.clients, async (client, a) => {
      const url = `http://${hostPort(t.world.outside.addresses[t.family][0]!, 80)}/client-ip`;
      const result = await t.world.probes.http(a, client, url);
      const node = hostOf(t.world, client.node).address(t.family);
      a.equal(`the source that the outside saw (${result.error})`, clientAddressIn(result.body), node);
    }),
};
