// SPDX-License-Identifier: Apache-2.0
import type { PodEndpoint } from "./endpoint.ts";
import type { ProbeSource } from "./probes.ts";
import type { World } from "./world.ts";

/** The network namespace of another node: to this node, it comes from outside. */
export function otherHost(world: World, node: string): PodEndpoint {
  return world.hosts.find((host) => host.node !== node)!;
}

/** Where to reach a node from: the client that `--external-client-command` names, else another node. */
export function outsideClientFor(world: World, node: string): ProbeSource {
  return world.externalClient ?? otherHost(world, node);
}

/** Skip reason of scenarios that come from beyond the node. */
export function needsOutsideClient(world: World): string | undefined {
  return world.externalClient === undefined && world.hosts.length < 2
    ? "there is only one node, and no --external-client-command"
    : undefined;
}
