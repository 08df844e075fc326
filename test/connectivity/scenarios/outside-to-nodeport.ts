// SPDX-License-Identifier: Apache-2.0
import { hostPort } from "../../../lib/addresses.ts";
import { needsOutsideClient, outsideClientFor } from "../outside-client.ts";
import type { Scenario } from "../suite.ts";
import { backendOf, echoServicesOf, type World } from "../world.ts";

export const outsideToNodePort: Scenario<World> = {
  name: "outside-to-nodeport",
  description:
    "from beyond a node, every node leads to every Service at its node port, wherever its pod runs",
  skip: needsOutsideClient,
  run: (t) =>
    t.pairs(t.world.hosts, echoServicesOf(t.world), async (node, service, a) => {
      const url = `http://${hostPort(node.address(t.family), service.nodePort("http"))}`;
      const answer = await t.world.probes.echo(a, outsideClientFor(t.world, node.node), url);
      a.equal("the pod that answered", answer.pod, backendOf(t.world, service).pod);
    }),
};
