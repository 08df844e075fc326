// SPDX-License-Identifier: Apache-2.0
import type { Family } from "../../../lib/addresses.ts";
import { ShuntError } from "../../../lib/errors.ts";
import type { Action } from "../action.ts";
import type { DnsAnswer } from "../dns-query.ts";
import type { PodEndpoint } from "../endpoint.ts";
import type { Scenario } from "../suite.ts";
import { echoesOf, needsOutside, type World } from "../world.ts";

const typeOf = (family: Family): "A" | "AAAA" => (family === "ipv4" ? "A" : "AAAA");

/** Asks the pod's own DNS server. */
async function ask(
  world: World,
  action: Action,
  client: PodEndpoint,
  query: { name: string; family: Family; transport?: "udp" | "tcp" },
): Promise<DnsAnswer> {
  const { name, family, ...rest } = query;
  const [server] = world.dnsServers;
  if (server === undefined) throw new ShuntError(`${client.name} has no nameserver in /etc/resolv.conf`);
  return await world.probes.dns(action, client, { server, name, type: typeOf(family), ...rest });
}

const serviceOver = (transport: "udp" | "tcp"): Scenario<World> => ({
  name: transport === "udp" ? "service" : "service-over-tcp",
  description: `a Service's name resolves to its cluster address, asked over ${transport.toUpperCase()}`,
  run: (t) =>
    t.each(t.world.clients, async (client, a) => {
      const service = t.world.services["echo-same-node"];
      const answer = await ask(t.world, a, client, { name: service.dnsName, family: t.family, transport });
      a.equal("the answer", answer, { rcode: 0, addresses: [service.address(t.family)] });
    }),
});

export const dnsService = serviceOver("udp");
export const dnsServiceOverTcp = serviceOver("tcp");

export const dnsHeadless: Scenario<World> = {
  name: "headless",
  description: "a headless Service's name resolves to the addresses of all its pods",
  run: (t) =>
    t.each(t.world.clients, async (client, a) => {
      const name = t.world.services["echo-headless"].dnsName;
      const answer = await ask(t.world, a, client, { name, family: t.family });
      const wanted = echoesOf(t.world).map((echo) => echo.address(t.family));
      a.equal("the addresses", answer.addresses.toSorted(), wanted.toSorted());
    }),
};

export const dnsMissing: Scenario<World> = {
  name: "missing",
  description: "a Service that is not there has no address, and the server says so (NXDOMAIN)",
  run: (t) =>
    t.each(t.world.clients, async (client, a) => {
      const name = `nothing-here.${t.world.options.namespace}.svc.cluster.local`;
      const answer = await ask(t.world, a, client, { name, family: t.family });
      a.equal("the answer", answer, { rcode: 3, addresses: [] });
    }),
};

export const dnsExternal: Scenario<World> = {
  name: "external",
  description: "a name outside the cluster resolves, through the cluster's DNS server",
  skip: needsOutside,
  run: (t) =>
    t.each(t.world.clients, async (client, a) => {
      const { name, addresses } = t.world.outside;
      const answer = await ask(t.world, a, client, { name: `${name}.`, family: t.family });
      a.equal("the answer's code", answer.rcode, 0);
      a.ok(answer.addresses.length > 0, `${name} has no ${typeOf(t.family)} record`);
      if (name === "world.example")
        a.ok(
          answer.addresses.some((address) => addresses[t.family].includes(address)),
          `${name} is ${answer.addresses}`,
        );
    }),
};
