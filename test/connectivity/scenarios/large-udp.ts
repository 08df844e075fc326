// SPDX-License-Identifier: Apache-2.0
import type { Scenario } from "../suite.ts";
import { echoesOf, type World } from "../world.ts";

export const largeUdp: Scenario<World> = {
  name: "large-udp",
  description:
    "a UDP datagram of 8,000 bytes is cut into fragments and comes back whole, directly and by Service",
  run: (t) =>
    t.pairs(t.world.clients, echoesOf(t.world), async (client, echo, a) => {
      const host = echo.address(t.family);
      const target = { protocol: "udp", host, port: echo.port("udp"), size: 8_000 } as const;
      const answer = await t.world.probes.dial(a, client, target);
      a.equal("the pod that answered", answer.pod, echo.pod);
      a.ok(answer.intact, `${answer.bytes} of 8000 bytes came back, or other ones`);
      const name = echo === t.world.echoSameNode ? "echo-same-node" : "echo-other-node";
      const service = t.world.services[name];
      const viaService = { ...target, host: service.address(t.family), port: service.port("udp") };
      a.ok(
        (await t.world.probes.dial(a, client, viaService)).intact,
        "through the Service other bytes came back",
      );
    }),
};
