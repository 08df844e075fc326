// SPDX-License-Identifier: Apache-2.0
import type { Scenario } from "../suite.ts";
import { backendOf, echoServicesOf, sourcesOf, type World } from "../world.ts";

const overProtocol = (protocol: "tcp" | "udp"): Scenario<World> => ({
  name: `pod-to-service-${protocol}`,
  description: `bytes sent over ${protocol.toUpperCase()} to a Service come back, from the Service's address`,
  run: (t) =>
    t.pairs(t.world.clients, echoServicesOf(t.world), async (client, service, a) => {
      const host = service.address(t.family);
      const target = { protocol, host, port: service.port(protocol), size: 500 };
      const answer = await t.world.probes.dial(a, client, target);
      a.equal("the pod that answered", answer.pod, backendOf(t.world, service).pod);
      a.oneOf("the source address that it saw", answer.peer, sourcesOf(t.world, client, t.family));
      a.equal("the address that the answer came from", answer.from, host);
      a.ok(answer.intact, `${answer.bytes} of 500 bytes came back, or other ones`);
    }),
});

export const podToServiceTcp = overProtocol("tcp");
export const podToServiceUdp = overProtocol("udp");
