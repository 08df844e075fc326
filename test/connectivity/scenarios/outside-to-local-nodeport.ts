// SPDX-License-Identifier: Apache-2.0
import { hostPort } from "../../../lib/addresses.ts";
import { otherHost } from "../outside-client.ts";
import type { Scenario } from "../suite.ts";
import { backendOf, type World } from "../world.ts";

export const outsideToLocalNodePort: Scenario<World> = {
  name: "outside-to-local-nodeport",
  description:
    "externalTrafficPolicy Local: the pod sees the client's own address, and nodes without a pod do not answer",
  skip: (world) => (world.hosts.length < 2 ? "there is only one node" : undefined),
  run: (t) =>
    t.each(t.world.hosts, async (node, a) => {
      const service = t.world.services["echo-local"];
      const source = otherHost(t.world, node.node);
      const url = `http://${hostPort(node.address(t.family), service.nodePort("http"))}`;
      if (node.node !== backendOf(t.world, service).node) {
        const result = await t.world.probes.http(a, source, url, { connectTimeoutS: 1 });
        a.oneOf(`curl's exit code (HTTP status ${result.status})`, result.curlExit, [7, 28]);
        return;
      }
      const answer = await t.world.probes.echo(a, source, url);
      a.equal("the source address that the pod saw", answer.client, source.address(t.family));
    }),
};
