// SPDX-License-Identifier: Apache-2.0
import type { Family } from "../../../lib/addresses.ts";
import type { PodEndpoint, ServiceEndpoint } from "../endpoint.ts";
import type { PortName } from "../ports.ts";
import type { ReachRequest } from "../reach.ts";
import { hostOf, type World } from "../world.ts";

/** Who connects, by the name that scenarios have for it; undefined where there is no such. */
const sources: Record<string, (world: World) => PodEndpoint | undefined> = {
  client: ({ clients }) => clients[0],
  client2: ({ clients }) => clients[1],
  /** The echo pod on the clients' node. */
  near: ({ echoSameNode }) => echoSameNode,
  /** Pods of another namespace. */
  stranger: ({ spoofer }) => spoofer,
  "other-stranger": ({ hostPortPod }) => hostPortPod,
  /** The node of the clients, and the one of the far echo pod. */
  host: (world) => hostOf(world, world.echoSameNode.node),
  "other-host": (world) => world.echoOtherNode && hostOf(world, world.echoOtherNode.node),
  outside: ({ externalClient }) => externalClient,
};

type Target = { name: string; address(family: Family): string | undefined; port(name: string): number };
const ofPod = (pod: PodEndpoint | undefined): Target[] =>
  pod === undefined
    ? []
    : [{ name: pod.name, address: (f) => pod.addresses[f], port: (name) => pod.port(name as PortName) }];
const ofService = (service: ServiceEndpoint): Target => ({
  name: `service ${service.name}`,
  address: (family) => service.clusterIps[family],
  port: (name) => service.port(name as PortName),
});
const ofWorld = (world: World, index: number): Target => ({
  name: index === 0 ? "world" : "world2",
  address: (family) => (world.outside.answers[family] ? world.outside.addresses[family][index] : undefined),
  port: () => 80,
});

const targets: Record<string, (world: World) => Target[]> = {
  client: ({ clients }) => ofPod(clients[0]),
  client2: ({ clients }) => ofPod(clients[1]),
  near: ({ echoSameNode }) => ofPod(echoSameNode),
  far: ({ echoOtherNode }) => ofPod(echoOtherNode),
  /** Both, as far as there are two nodes. */
  echo: ({ echoSameNode, echoOtherNode }) => [...ofPod(echoSameNode), ...ofPod(echoOtherNode)],
  "near-service": ({ services }) => [ofService(services["echo-same-node"])],
  "far-service": ({ services, echoOtherNode }) =>
    echoOtherNode === undefined ? [] : [ofService(services["echo-other-node"])],
  "other-namespace": ({ hostPortPod }) => ofPod(hostPortPod),
  host: (world) => ofPod(hostOf(world, world.echoSameNode.node)),
  "other-host": (world) => ofPod(world.echoOtherNode && hostOf(world, world.echoOtherNode.node)),
  /** Node port of the near echo pod's Service, at its node. */
  "node-port": (world) => {
    const host = hostOf(world, world.echoSameNode.node);
    const service = world.services["echo-same-node"];
    return [
      { name: "node port", address: (f) => host.addresses[f], port: (n) => service.nodePort(n as PortName) },
    ];
  },
  "api-server": ({ apiServer }) => [
    { name: "API server", address: (family) => apiServer.clusterIps[family], port: () => 443 },
  ],
  world: (world) => [ofWorld(world, 0)],
  world2: (world) => [ofWorld(world, 1)],
};

const protocols: Record<string, ReachRequest["protocol"]> = {
  http: "connect",
  second: "connect",
  tcp: "tcp",
  udp: "udp",
  icmp: "icmp",
};

/** One connection of a scenario, in one family. */
export interface Connection {
  name: string;
  source: PodEndpoint;
  request: ReachRequest;
}

/** Sources, targets and protocols, every one with every other. */
export interface Flow {
  from: string[];
  to: string[];
  over: string[];
}

/** Reads `client client2 -> echo near-service: http udp`. Throws when it names something that there is not. */
export function parseFlow(text: string): Flow {
  const parts = /^([\w -]+) -> ([\w -]+): ([\w ]+)$/.exec(text)?.slice(1);
  const [from = [], to = [], over = []] = parts?.map((part) => part.split(" ")) ?? [];
  const known = [sources, targets, protocols];
  const unknown = [from, to, over].flatMap((names, at) =>
    names.filter((name) => !Object.hasOwn(known[at]!, name)),
  );
  if (parts === undefined || unknown.length > 0) throw new Error(`"${text}": no such ${unknown}`);
  return { from, to, over };
}

/** The connections that a flow stands for here; none when an end of it is missing. */
export function connectionsOf({ from, to, over }: Flow, world: World): Connection[] {
  return from.flatMap((source) =>
    to.flatMap((target) =>
      over.flatMap((protocol) =>
        world.families.flatMap((family) => {
          const pod = sources[source]!(world);
          if (pod === undefined) return [];
          return targets[target]!(world).flatMap((end) => {
            const host = end.address(family);
            if (host === undefined) return [];
            const port = protocol === "icmp" ? 0 : end.port(protocol);
            const name = `${pod.name} -> ${end.name}: ${protocol} [${family}]`;
            return [{ name, source: pod, request: { protocol: protocols[protocol]!, host, port } }];
          });
        }),
      ),
    ),
  );
}

/** Why connections of a flow cannot be tried here. */
export function missingEnd({ from, to }: Flow, world: World): string | undefined {
  const ends = [...from, ...to];
  if (ends.some((end) => /^(far|other-host)/.test(end)) && world.echoOtherNode === undefined)
    return "it needs two nodes, and the test runs on one";
  if (from.includes("outside") && world.externalClient === undefined)
    return "it needs a client outside the cluster (--external-client-command)";
  const answering = world.families.filter((family) => world.outside.answers[family]);
  if (ends.some((end) => end.startsWith("world")) && answering.length === 0)
    return "the nodes themselves get no answer from outside the cluster (see --external-ip)";
  if (to.includes("world2") && answering.some((family) => world.outside.addresses[family].length < 2))
    return "it needs two addresses of each family outside the cluster (--external-ip)";
  return undefined;
}
