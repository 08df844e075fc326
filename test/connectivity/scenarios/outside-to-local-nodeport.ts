// SPDX-License-Identifier: Apache-2.0
import { hostPort } from "../../../lib/addresses.ts";
import { expectAnswer } from "../probes.ts";
import type { Scenario } from "../suite.ts";
import { backendOf, type World } from "../world.ts";

export const outsideToLocalNodePort: Scenario<World> = {
  name: "outside-to-local-nodeport",
  description:
    "externalTrafficPolicy Local: the pod sees the client's own address, and nodes without a pod do not answer",
  // A node is no stand-in here: the policy is about traffic from beyond the cluster.
  skip: (world) => (world.externalClient === undefined ? "it needs --external-client-command" : undefined),
  run: (t) =>
    t.each(t.world.hosts, async (node, a) => {
      const service = t.world.services["echo-local"];
      const url = `http://${hostPort(node.address(t.family), service.nodePort("http"))}`;
      const result = await t.world.probes.http(a, t.world.externalClient!, url, { connectTimeoutS: 1 });
      if (node.node !== backendOf(t.world, service).node) {
        a.oneOf(`curl's exit code (HTTP status ${result.status})`, result.curlExit, [7, 28]);
        return;
      }
      expectAnswer(a, url, result);
      a.equal("the source address that the pod saw", JSON.parse(result.body).client, result.local);
    }),
};
