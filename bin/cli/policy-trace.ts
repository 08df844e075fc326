// SPDX-License-Identifier: Apache-2.0
// What the cluster's policies say about a connection between two of its ends.
import { type BehindService, type Decision, decide, type End } from "../../agent/policy/decide.ts";
import { namedPorts, podLabels } from "../../agent/policy/labels.ts";
import { type Policy, pathText, protocols } from "../../agent/policy/model.ts";
import {
  addressesOfNode,
  apiServerAddresses,
  hostName,
  labelsOfNode,
  reachesApiServer,
} from "../../agent/policy/node-peers.ts";
import { selects } from "../../agent/policy/selector.ts";
import { parsePolicy } from "../../agent/policy/validate.ts";
import { addressBytes, addressFamily, addressText, isAddress } from "../../lib/addresses.ts";
import { ShuntError, UsageError } from "../../lib/errors.ts";
import type { KubeClient } from "../../lib/kube.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import { listKind, listPolicyObjects } from "./policy-objects.ts";

export interface TracedPort {
  protocol: number;
  port: number;
}

/** `8080`, `53/UDP` or `ICMP/8`. */
export function parsePort(text: string): TracedPort {
  const icmp = /^(ICMP|ICMPv6)\/(\d{1,3})$/i.exec(text);
  if (icmp !== null && Number(icmp[2]) <= 255)
    return { protocol: /6$/.test(icmp[1]!) ? protocols.ICMPv6 : protocols.ICMP, port: Number(icmp[2]) };
  const [, number, name = "TCP"] = /^(\d{1,5})(?:\/(TCP|UDP|SCTP))?$/i.exec(text) ?? [];
  const port = Number(number);
  if (number === undefined || port < 1 || port > 65_535)
    throw new UsageError(`"${text}" is not a port`, "Write it like 8080, 53/UDP or ICMP/8.");
  return { protocol: protocols[name.toUpperCase() as "TCP" | "UDP" | "SCTP"], port };
}

/** The objects that decide. */
export class PolicyWorld {
  readonly policies: readonly Policy[];
  /** Policies that cannot be used, and why. */
  readonly invalid: readonly { name: string; problems: string }[];
  readonly #pods: readonly KubeObject[];
  readonly #namespaces: ReadonlyMap<string, KubeObject>;
  readonly #slices: readonly KubeObject[];
  readonly #services: readonly KubeObject[];
  readonly #nodes: readonly KubeObject[];
  readonly #apiServers: ReadonlySet<string>;

  private constructor(objects: Record<keyof typeof kinds, KubeObject[]>, policies: readonly KubeObject[]) {
    const parsed = policies.map((object) => ({ object, ...parsePolicy(object) }));
    this.policies = [...parsed.flatMap(({ policies }) => policies), reachesApiServer(objects.slices)];
    this.invalid = parsed
      .filter(({ problems }) => problems.length > 0)
      .map(({ object: { kind, metadata }, problems }) => ({
        name: `${kind} ${metadata.namespace === undefined ? "" : `${metadata.namespace}/`}${metadata.name}`,
        problems: problems.map(({ path, message }) => `${pathText(path)}: ${message}`).join("; "),
      }));
    this.#pods = objects.pods;
    this.#namespaces = new Map(objects.namespaces.map((one) => [one.metadata.name!, one]));
    this.#slices = objects.slices;
    this.#services = objects.services;
    this.#nodes = objects.nodes;
    this.#apiServers = apiServerAddresses(objects.slices);
  }

  static async read(kube: KubeClient, signal: AbortSignal): Promise<PolicyWorld> {
    const [objects, policies] = await Promise.all([
      Promise.all(
        Object.entries(kinds).map(async ([name, kind]) => [name, await listKind(kube, kind, signal)]),
      ),
      listPolicyObjects(kube, signal),
    ]);
    return new PolicyWorld(Object.fromEntries(objects), policies);
  }

  /** Pods that serve, or could: those that run, are ready and have a network of their own. */
  get readyPods(): KubeObject[] {
    const isReady = ({ metadata, spec, status }: KubeObject): boolean =>
      spec?.hostNetwork !== true &&
      metadata.deletionTimestamp === undefined &&
      status?.phase === "Running" &&
      (status.podIPs ?? []).length > 0 &&
      (status.conditions ?? []).some((one: any) => one.type === "Ready" && one.status === "True");
    return this.#pods.filter(isReady);
  }

  /** TCP ports to which Services lead, by the endpoint's address. */
  servedPorts(): Map<string, Set<number>> {
    const found = new Map<string, Set<number>>();
    // The API server writes null for a list that is empty.
    for (const { endpoints, ports } of this.#slices)
      for (const { addresses } of endpoints ?? [])
        for (const address of addresses ?? [])
          for (const { port, protocol = "TCP" } of ports ?? [])
            if (protocol === "TCP" && Number.isInteger(port))
              found.set(address, (found.get(address) ?? new Set()).add(port));
    return found;
  }

  /** The pod of this name, or with this address of its own. */
  findPod(text: string): KubeObject | undefined {
    return this.#pods.find(
      ({ metadata, spec, status }) =>
        text === `${metadata.namespace}/${metadata.name}` ||
        (isAddress(text) &&
          spec?.hostNetwork !== true &&
          (status?.podIPs ?? []).some(({ ip }: { ip: string }) => ip === text)),
    );
  }

  /** The labels of the node of this name, as it is known on `seenFrom`. */
  labelsOfNode(name: string, seenFrom: string): Map<string, string> | undefined {
    const node = this.#nodes.find(({ metadata }) => metadata.name === name);
    return node && labelsOfNode(node, { own: name === seenFrom, apiServers: this.#apiServers });
  }

  /** The name of the node that has an address. */
  nodeAt(address: string): string | undefined {
    const text = addressText(addressBytes(address));
    return this.#nodes.find((one) => addressesOfNode(one).includes(text))?.metadata.name;
  }

  isApiServer(address: string): boolean {
    return this.#apiServers.has(address);
  }

  nodeAddress(node: string | undefined, family: "ipv4" | "ipv6"): string | undefined {
    const object = this.#nodes.find(({ metadata }) => metadata.name === node);
    const addresses: { type: string; address: string }[] = object?.status?.addresses ?? [];
    return addresses.find(
      ({ type, address }) => type === "InternalIP" && isAddress(address) && addressFamily(address) === family,
    )?.address;
  }

  endOfPod(pod: KubeObject, address: string): End {
    return {
      labels: podLabels(pod, this.#namespaces.get(pod.metadata.namespace ?? "")),
      address: addressBytes(address),
      ports: namedPorts(pod),
    };
  }

  readonly behindService: BehindService = ({ namespace, name, selector }, { address, labels }) => {
    // Nodes are behind no Service: whoever means them names them.
    if (address === undefined || labels.has("reserved:host") || labels.has("reserved:remote-node"))
      return false;
    const wanted = new Set(
      this.#services
        .filter(
          ({ metadata }) =>
            (namespace === undefined || metadata.namespace === namespace) &&
            (name === undefined
              ? selects(selector, new Map(Object.entries(metadata.labels ?? {})))
              : metadata.name === name),
        )
        .map(({ metadata }) => `${metadata.namespace}/${metadata.name}`),
    );
    return this.#slices.some(
      ({ metadata, endpoints }) =>
        wanted.has(`${metadata.namespace}/${metadata.labels?.["kubernetes.io/service-name"]}`) &&
        (endpoints ?? []).some(({ addresses }: { addresses?: string[] | null }) =>
          (addresses ?? []).some((one) => isAddress(one) && Buffer.from(addressBytes(one)).equals(address)),
        ),
    );
  };
}

const kinds = {
  pods: { apiVersion: "v1", plural: "pods", kind: "Pod" },
  namespaces: { apiVersion: "v1", plural: "namespaces", kind: "Namespace" },
  services: { apiVersion: "v1", plural: "services", kind: "Service" },
  nodes: { apiVersion: "v1", plural: "nodes", kind: "Node" },
  slices: { apiVersion: "discovery.k8s.io/v1", plural: "endpointslices", kind: "EndpointSlice" },
} as const;

export interface Traced {
  from: string;
  to: string;
  /** undefined: policies are not asked about this end. */
  egress?: Decision;
  ingress?: Decision;
  verdict: "allowed" | "denied";
}

interface TracedEnd {
  title: string;
  pod?: KubeObject;
  /** Of the node that it is, also as a pod on its network. */
  node?: string;
  /** Of what is neither. */
  address?: string;
}

/** What an agent is to be asked: one half of a connection, at the end whose policies are about it. */
export interface MapQuestion {
  direction: "ingress" | "egress";
  node: string;
  /** namespace/name; "host" is the node itself. */
  pod: string;
  peer: string;
}

/** Which agents know about a connection, and what they are asked. What has no address is in no map. */
export function mapQuestions(world: PolicyWorld, from: string, to: string): MapQuestion[] {
  const { sender, receiver } = findEnds(world, from, to);
  const family = familyOf(sender, receiver);
  const addressOf = ({ pod, node, address }: TracedEnd): string | undefined =>
    address ?? (pod === undefined ? world.nodeAddress(node, family) : podAddresses(pod).find(isOf(family)));
  const half = (direction: MapQuestion["direction"], own: TracedEnd, other: TracedEnd): MapQuestion[] => {
    const node = nodeOf(own);
    const peer = addressOf(other);
    if (node === undefined || peer === undefined || isSameNode(own, other)) return [];
    return [{ direction, node, pod: own.pod === undefined ? hostName : own.title, peer }];
  };
  return [...half("egress", sender, receiver), ...half("ingress", receiver, sender)];
}

/** Judges a connection: by the sender's policies for egress, and by the receiver's for ingress. */
export function traceConnection(world: PolicyWorld, from: string, to: string, port: TracedPort): Traced {
  const { sender, receiver } = findEnds(world, from, to);
  const family = familyOf(sender, receiver);
  const judge = (direction: "ingress" | "egress", own: TracedEnd, other: TracedEnd): Decision | undefined => {
    const seenFrom = nodeOf(own) ?? "";
    if ((own.pod === undefined && own.node === undefined) || isSameNode(own, other)) return undefined;
    const subject = endOf(world, own, { family, seenFrom, other });
    const peer = endOf(world, other, { family, seenFrom, other: own });
    return decide(world.policies, { direction, subject, peer, ...port }, world.behindService);
  };
  const egress = judge("egress", sender, receiver);
  const ingress = judge("ingress", receiver, sender);
  const isDenied = [egress, ingress].some((decision) => decision?.verdict === "denied");
  return {
    ...{ from: sender.title, to: receiver.title },
    ...(egress !== undefined && { egress }),
    ...(ingress !== undefined && { ingress }),
    verdict: isDenied ? "denied" : "allowed",
  };
}

/** The node where an end's policies are asked; undefined when it is beyond the cluster. */
const nodeOf = ({ pod, node }: TracedEnd): string | undefined => pod?.spec?.nodeName ?? node;
/** Both are one node itself: such packets leave it for nobody. */
const isSameNode = (one: TracedEnd, other: TracedEnd): boolean =>
  one.pod === undefined && other.pod === undefined && one.node !== undefined && one.node === other.node;
const isOf =
  (family: "ipv4" | "ipv6") =>
  (ip: string): boolean =>
    addressFamily(ip) === family;

function findEnds(world: PolicyWorld, from: string, to: string): { sender: TracedEnd; receiver: TracedEnd } {
  const [sender, receiver] = [from, to].map((text) => findEnd(world, text)) as [TracedEnd, TracedEnd];
  // The host is the node of the other end.
  if (sender.title === hostName) sender.node = nodeOf(receiver);
  if (receiver.title === hostName) receiver.node = nodeOf(sender);
  return { sender, receiver };
}

function findEnd(world: PolicyWorld, text: string): TracedEnd {
  if (text === hostName || text === "world") return { title: text };
  const named = text.startsWith("node:") ? text.slice("node:".length) : undefined;
  if (named !== undefined && world.labelsOfNode(named, named) === undefined)
    throw new ShuntError(`There is no node ${named}`, { code: "NotFound", remedy: "kubectl get nodes" });
  if (named !== undefined) return { title: text, node: named };
  const pod = world.findPod(text);
  if (pod !== undefined) {
    const title = `${pod.metadata.namespace}/${pod.metadata.name}`;
    if (pod.spec?.hostNetwork !== true) return { title, pod };
    const node: string | undefined = pod.spec.nodeName;
    if (node !== undefined) return { title, node };
    throw new ShuntError(`${title} is to be on its node's network, and has no node yet`, {
      code: "NotFound",
      remedy: `Wait until it runs, or name a node: node:NAME.`,
    });
  }
  if (isAddress(text)) {
    const node = world.nodeAt(text);
    return { title: text, address: text, ...(node !== undefined && { node }) };
  }
  if (/^[^/]+\/[^/]+$/.test(text))
    throw new ShuntError(`There is no pod ${text}`, { code: "NotFound", remedy: "kubectl get pods -A" });
  throw new UsageError(
    `"${text}" is no end of a connection`,
    "Write NAMESPACE/POD, node:NAME, an address, host or world.",
  );
}

export const podAddresses = (pod: KubeObject | undefined): string[] =>
  (pod?.status?.podIPs ?? []).map(({ ip }: { ip: string }) => ip);

/** The family that both ends have; the address that was named decides. */
function familyOf(...ends: TracedEnd[]): "ipv4" | "ipv6" {
  const named = ends.find(({ address }) => address !== undefined)?.address;
  if (named !== undefined) return addressFamily(named);
  const all = ends
    .filter(({ pod }) => pod !== undefined)
    .map(({ pod }) => podAddresses(pod).map(addressFamily));
  return all.every((families) => families.includes("ipv4")) ? "ipv4" : "ipv6";
}

function endOf(
  world: PolicyWorld,
  one: TracedEnd,
  { family, seenFrom, other }: { family: "ipv4" | "ipv6"; seenFrom: string; other: TracedEnd },
): End {
  if (one.pod !== undefined) {
    const address = podAddresses(one.pod).find(isOf(family));
    if (address === undefined)
      throw new ShuntError(`${one.title} has no ${family} address`, {
        code: "NotFound",
        remedy: `Wait until it runs, or choose ends of one family (the other end is ${other.title}).`,
      });
    return world.endOfPod(one.pod, address);
  }
  const named = one.address ?? world.nodeAddress(one.node, family);
  const own = named === undefined ? undefined : addressText(addressBytes(named));
  const address = own === undefined ? {} : { address: addressBytes(own) };
  if (one.node !== undefined || one.title === hostName) {
    const labels = world.labelsOfNode(one.node ?? "", seenFrom);
    return { labels: labels ?? new Map([["reserved:host", ""]]), ports: [], ...address };
  }
  const labels = new Map([
    ["reserved:world", ""],
    [`reserved:world-${family}`, ""],
  ]);
  if (own !== undefined && world.isApiServer(own)) labels.set("reserved:kube-apiserver", "");
  return { labels, ports: [], ...address };
}
