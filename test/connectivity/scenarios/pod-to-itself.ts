// SPDX-License-Identifier: Apache-2.0
import type { Scenario } from "../suite.ts";
import { backendOf, echoServicesOf, type World } from "../world.ts";

export const podToItselfViaService: Scenario<World> = {
  name: "pod-to-itself-via-service",
  description: "a pod reaches itself through its own Service, over TCP and UDP",
  run: (t) =>
    t.each(echoServicesOf(t.world), async (service, a) => {
      const pod = backendOf(t.world, service);
      const answer = await t.world.probes.echo(a, pod, service.url(t.family));
      a.equal("the pod that answered", answer.pod, pod.pod);
      const target = { protocol: "udp", host: service.address(t.family), port: service.port("udp") } as const;
      a.equal("the pod that answered over UDP", (await t.world.probes.dial(a, pod, target)).pod, pod.pod);
    }),
};
