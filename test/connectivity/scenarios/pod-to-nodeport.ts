// SPDX-License-Identifier: Apache-2.0
import { hostPort } from "../../../lib/addresses.ts";
import type { Scenario } from "../suite.ts";
import { backendOf, echoServicesOf, type World } from "../world.ts";

const where = (local: boolean): Scenario<World> => ({
  name: local ? "pod-to-local-nodeport" : "pod-to-remote-nodeport",
  description: `every client reaches every Service at the node port of ${local ? "its own node" : "every other node"}`,
  skip: (world) => (!local && world.hosts.length < 2 ? "there is only one node" : undefined),
  run: async (t) => {
    const services = echoServicesOf(t.world);
    const all = t.world.clients.map((client) => {
      const hosts = t.world.hosts.filter((host) => (host.node === client.node) === local);
      const targets = services.flatMap((service) =>
        hosts.map((host) => ({ name: `${service.name} at ${host.node}`, service, host })),
      );
      return t.pairs([client], targets, async (from, { service, host }, a) => {
        const address = host.address(t.family);
        const url = `http://${hostPort(address, service.nodePort("http"))}`;
        const answer = await t.world.probes.echo(a, from, url);
        const backend = backendOf(t.world, service);
        a.equal("the pod that answered", answer.pod, backend.pod);
        const target = { protocol: "udp", host: address, port: service.nodePort("udp") } as const;
        const udp = await t.world.probes.dial(a, from, target);
        a.equal("the pod that answered over UDP", udp.pod, backend.pod);
        a.equal("the address that its answer came from", udp.from, address);
      });
    });
    await Promise.all(all);
  },
});

export const podToLocalNodePort = where(true);
export const podToRemoteNodePort = where(false);
