// SPDX-License-Identifier: Apache-2.0
import { hostPort } from "../../../lib/addresses.ts";
import { needsOutsideClient, outsideClientFor } from "../outside-client.ts";
import { publishedHostPort } from "../ports.ts";
import type { Scenario } from "../suite.ts";
import { hostOf, type World } from "../world.ts";

export const outsideToHostPort: Scenario<World> = {
  name: "outside-to-hostport",
  description: "from beyond its node, a pod is reached at the port that it has there",
  skip: needsOutsideClient,
  run: async (t) => {
    const pod = t.world.hostPortPod;
    const client = outsideClientFor(t.world, pod.node);
    await t.action(`${client.name} -> ${pod.name}`, async (a) => {
      const address = hostOf(t.world, pod.node).address(t.family);
      const answer = await t.world.probes.echo(a, client, `http://${hostPort(address, publishedHostPort)}`);
      a.equal("the pod that answered", answer.pod, pod.pod);
    });
  },
};
