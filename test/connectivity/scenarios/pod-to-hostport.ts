// SPDX-License-Identifier: Apache-2.0
import { hostPort } from "../../../lib/addresses.ts";
import { publishedHostPort } from "../ports.ts";
import type { Scenario } from "../suite.ts";
import { hostOf, type World } from "../world.ts";

export const podToHostPort: Scenario<World> = {
  name: "pod-to-hostport",
  description: "every client reaches a pod at the port that it has on its node",
  run: (t) =>
    t.each(t.world.clients, async (client, a) => {
      const pod = t.world.hostPortPod;
      const address = hostOf(t.world, pod.node).address(t.family);
      const answer = await t.world.probes.echo(a, client, `http://${hostPort(address, publishedHostPort)}`);
      a.equal("the pod that answered", answer.pod, pod.pod);
    }),
};
