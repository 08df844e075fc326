// SPDX-License-Identifier: Apache-2.0
import type { Family } from "../../lib/addresses.ts";
import type { KubeClient } from "../../lib/kube.ts";
import type { Addresses, PodEndpoint, ServiceEndpoint } from "./endpoint.ts";
import type { ConnectivityOptions } from "./options.ts";
import type { Probes } from "./probes.ts";

export interface NodeInfo {
  name: string;
  addresses: Addresses;
  labels: Record<string, string>;
}

/** What is outside the cluster, as far as it answers. */
export interface Outside {
  /** A name that resolves to the first address. */
  name: string;
  /** Two addresses a family, at which HTTP is served. */
  addresses: Record<Family, readonly string[]>;
  /** Families in which a node itself gets an answer there. */
  answers: Record<Family, boolean>;
  /** It tells its client's address at `/client-ip`. */
  tellsClient: Record<Family, boolean>;
}

/** The node agent, as far as there is one. */
export interface AgentFacts {
  namespace: string;
  /** node → pod of its DaemonSet; empty when the cluster runs something else. */
  pods: Map<string, string>;
  healthPort: number;
  metricsPort: number;
  /** Nodes whose pods get their interfaces from it. */
  activeNodes: ReadonlySet<string>;
  /** Nodes on which it enforces policies. */
  enforcingNodes: ReadonlySet<string>;
}

/** Counters of the agents when the run began, to be compared with those at its end. */
interface Baseline {
  startedAt: string;
  /** node → reason → packets dropped. */
  drops: Map<string, Map<string, number>>;
  /** agent pod → restarts of its containers. */
  restarts: Map<string, number>;
  /** TCP connections opened at the start, that must still work at the end. */
  held: HeldConnection[];
}

/** A connection that was opened when the run began, or why it could not be. */
export interface HeldConnection {
  name: string;
  family: Family;
  source: PodEndpoint;
  id: string;
  error?: string;
}

/** All that the scenarios act on: what was deployed, where it runs, and how to reach it. */
export interface World {
  kube: KubeClient;
  probes: Probes;
  options: ConnectivityOptions;
  families: Family[];
  /** All nodes; the first two of `placement` carry the pods. */
  nodes: NodeInfo[];
  /** client and client2 on one node, client3 on the other if there is one. */
  clients: PodEndpoint[];
  echoSameNode: PodEndpoint;
  echoOtherNode: PodEndpoint | undefined;
  /** One pod on the host's network on every node. */
  hosts: PodEndpoint[];
  /** A pod published at a port of its node. */
  hostPortPod: PodEndpoint;
  /** A pod that may set addresses, to send from those of others. */
  spoofer: PodEndpoint;
  services: Record<ServiceName, ServiceEndpoint>;
  /** The `kubernetes` Service of the API server. */
  apiServer: ServiceEndpoint;
  /** Addresses of the cluster's DNS server, as pods know them. */
  dnsServers: string[];
  /** Clients that got no answer from it. */
  withoutDns: string[];
  outside: Outside;
  /** A client beyond the nodes, by `--external-client-command`; without it, hosts of other nodes stand in. */
  externalClient: PodEndpoint | undefined;
  agent: AgentFacts;
  /** The cluster has the kinds CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy. */
  servesCiliumPolicies: boolean;
  baseline: Baseline;
}

export type ServiceName =
  | "echo-same-node"
  | "echo-other-node"
  | "echo"
  | "echo-headless"
  | "echo-local"
  | "echo-nobody"
  | "echo-scaled";

/** The echo pods that clients talk to: one beside them, one across the network if there is a second node. */
export function echoesOf(world: World): PodEndpoint[] {
  return world.echoOtherNode === undefined ? [world.echoSameNode] : [world.echoSameNode, world.echoOtherNode];
}

/** The pod on the host's network of one node. */
export function hostOf(world: World, node: string): PodEndpoint {
  return world.hosts.find((host) => host.node === node)!;
}

/** The addresses under which a pod's peer may see it: its own, as Kubernetes demands of a pod network. */
export function sourcesOf(world: World, pod: PodEndpoint, family: Family): string[] {
  const own = pod.address(family);
  if (!world.options.otherNetworkMayMasquerade || world.agent.activeNodes.has(pod.node)) return [own];
  return [own, hostOf(world, pod.node).address(family)];
}

/** Skip reason of scenarios that need a second node. */
export function needsTwoNodes(world: World): string | undefined {
  return world.echoOtherNode === undefined ? "it needs two nodes, and the test runs on one" : undefined;
}

/** Skip reason of scenarios that need an answer from outside the cluster. */
export function needsOutside(world: World, family: Family): string | undefined {
  const where = world.outside.addresses[family][0];
  return world.outside.answers[family]
    ? undefined
    : `the nodes themselves get no answer from ${where} outside the cluster (see --external-ip)`;
}

/** Skip reason of scenarios about what a pod may do, when another pod network gives this one its interface. */
export function needsOurInterface(world: World, pod: PodEndpoint): string | undefined {
  return world.agent.activeNodes.has(pod.node)
    ? undefined
    : `the pods of ${pod.node} have interfaces of another pod network`;
}

/** Skip reason of scenarios about the agent itself. */
export function needsAgent(world: World): string | undefined {
  return world.agent.pods.size > 0 ? undefined : "the cluster has no DaemonSet kube-system/shunt-agent";
}

/** The Services with one pod each, whose clients know who must answer. */
export function echoServicesOf(world: World): ServiceEndpoint[] {
  const far = world.echoOtherNode === undefined ? [] : [world.services["echo-other-node"]];
  return [world.services["echo-same-node"], ...far];
}

/** The pod behind a Service that has one. */
export function backendOf(world: World, service: ServiceEndpoint): PodEndpoint {
  return service.name === "echo-same-node" ? world.echoSameNode : (world.echoOtherNode ?? world.echoSameNode);
}
