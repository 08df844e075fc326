// SPDX-License-Identifier: Apache-2.0
import type { Scenario } from "../suite.ts";
import { echoesOf, sourcesOf, type World } from "../world.ts";

const overProtocol = (protocol: "tcp" | "udp"): Scenario<World> => ({
  name: `pod-to-pod-${protocol}`,
  description: `bytes sent over ${protocol.toUpperCase()} from every client to every echo pod come back unchanged`,
  run: (t) =>
    t.pairs(t.world.clients, echoesOf(t.world), async (client, echo, a) => {
      const target = { protocol, host: echo.address(t.family), port: echo.port(protocol), size: 700 };
      const answer = await t.world.probes.dial(a, client, target);
      a.equal("the pod that answered", answer.pod, echo.pod);
      a.oneOf("the source address that it saw", answer.peer, sourcesOf(t.world, client, t.family));
      a.ok(answer.intact, `${answer.bytes} of 700 bytes came back, or other ones`);
    }),
});

export const podToPodTcp = overProtocol("tcp");
export const podToPodUdp = overProtocol("udp");
