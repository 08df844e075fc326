// SPDX-License-Identifier: Apache-2.0
import { needsOutsideClient, outsideClientFor } from "../outside-client.ts";
import type { Scenario } from "../suite.ts";
import { backendOf, echoServicesOf, type World } from "../world.ts";

export const outsideToNodePortUdp: Scenario<World> = {
  name: "outside-to-nodeport-udp",
  description: "from beyond a node, UDP to a node port is answered from the address that it was sent to",
  skip: needsOutsideClient,
  run: (t) =>
    t.pairs(t.world.hosts, echoServicesOf(t.world), async (node, service, a) => {
      const host = node.address(t.family);
      const target = { protocol: "udp", host, port: service.nodePort("udp"), size: 300 } as const;
      const answer = await t.world.probes.dial(a, outsideClientFor(t.world, node.node), target);
      a.equal("the pod that answered", answer.pod, backendOf(t.world, service).pod);
      a.equal("the address that the answer came from", answer.from, host);
      a.ok(answer.intact, `${answer.bytes} of 300 bytes came back, or other ones`);
    }),
};
