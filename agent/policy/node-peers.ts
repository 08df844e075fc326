// SPDX-License-Identifier: Apache-2.0
// Nodes as peers of policies: the reserved identities, and numbers of their own where policies select nodes by labels.
import { createHash } from "node:crypto";
import { addressBytes, addressText, isAddress } from "../../lib/addresses.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import { nodeAddresses, nodeFacts } from "../node-model.ts";
import { reservedIdentities } from "./entities.ts";
import { identityText } from "./identity.ts";
import { type Labels, type Peer, type Policy, protocols, type Rule, type Selector } from "./model.ts";
import type { Identity } from "./peer-index.ts";
import { exists } from "./selector.ts";

/** Numbers of nodes are this node's own, like those of prefixes, and beyond them. */
const firstNodeNumber = 1 << 25;
/** What a node calls itself among its endpoints: names of pods have a slash. */
export const hostName = "host";
/** Before the key of a node's label. */
export const nodeLabelSource = "node:";

/** Nodes with these labels as peers: nothing but nodes, also where no label is asked for. */
export const nodesWith = (labels: Selector): Peer[] =>
  ["reserved:host", "reserved:remote-node"].map((one) => ({
    kind: "labels",
    selector: [exists(one), ...labels],
  }));

/** Whether an EndpointSlice says where the API server is. */
export const isOfApiServer = ({ metadata }: KubeObject): boolean =>
  metadata.namespace === "default" && metadata.labels?.["kubernetes.io/service-name"] === "kubernetes";

/** Where the API server answers: the endpoints of the Service that every cluster has. */
export function apiServerAddresses(slices: Iterable<KubeObject>): Set<string> {
  const found = new Set<string>();
  for (const slice of slices)
    if (isOfApiServer(slice))
      for (const { addresses = [] } of slice.endpoints ?? [])
        for (const one of addresses) if (isAddress(one)) found.add(addressText(addressBytes(one)));
  return found;
}

/**
 * That a node reaches the API server where the endpoints of `default/kubernetes` are: a policy that forgot it would stay in force
 * for good, for nobody on the node would hear that it was mended.
 */
export function reachesApiServer(slices: Iterable<KubeObject>): Policy {
  const ports = new Set<number>();
  for (const slice of slices)
    if (isOfApiServer(slice))
      for (const { port } of slice.ports ?? []) if (Number.isInteger(port)) ports.add(port);
  const rule: Rule = {
    ...{ direction: "egress", action: "allow", at: "the way to the API server" },
    peers: [{ kind: "labels", selector: [exists("reserved:kube-apiserver")] }],
    ports: [...ports]
      .toSorted((a, b) => a - b)
      .map((port) => ({ protocol: protocols.TCP, first: port, last: port })),
  };
  return {
    ...{ name: "Shunt", tier: "admin", priority: -1, subject: [], ofNodes: true, isImplied: true },
    ...{ isolates: { ingress: false, egress: false }, rules: [rule] },
  };
}

/** Addresses that are a node itself. */
export const addressesOfNode = (node: KubeObject): string[] => nodeAddresses(nodeFacts(node));

/** The labels by which policies know a node. `own`: it is asked for from a pod of it. */
export function labelsOfNode(
  node: KubeObject,
  { own, apiServers }: { own: boolean; apiServers: ReadonlySet<string> },
): Map<string, string> {
  const labels = new Map([[own ? "reserved:host" : "reserved:remote-node", ""]]);
  if (addressesOfNode(node).some((one) => apiServers.has(one))) labels.set("reserved:kube-apiserver", "");
  for (const [key, value] of Object.entries(node.metadata.labels ?? {}))
    labels.set(nodeLabelSource + key, value);
  return labels;
}

/** What policies know of nodes at one time. */
export interface NodesAsPeers {
  identities: readonly Identity[];
  /** Numbers of the other nodes' addresses. */
  byAddress: ReadonlyMap<string, number>;
  /** Names of all nodes, as node:NAME, by their addresses. */
  names: ReadonlyMap<string, string>;
  /** The agent's own node, with the labels that policies ask for; undefined while nobody has told about it. */
  own: { labels: Labels; addresses: readonly string[] } | undefined;
  /** Where the API server answers beside nodes. */
  apiServersElsewhere: readonly string[];
}

/** Gives numbers to nodes; those with the same labels that a policy selects by have the same. */
export class NodePeers {
  readonly #numbers = new Map<string, number>();

  read(
    nodes: readonly KubeObject[],
    options: { ownNode: string; apiServers: ReadonlySet<string>; selectedBy: ReadonlySet<string> },
  ): NodesAsPeers {
    const { ownNode, apiServers, selectedBy } = options;
    const identities = new Map<number, Identity>();
    const byAddress = new Map<string, number>();
    const names = new Map<string, string>();
    let itself: NodesAsPeers["own"];
    const add = (id: number, labels: Labels): number => {
      identities.set(id, { id, labels, ports: [] });
      return id;
    };
    const { host, "remote-node": remoteNode, "kube-apiserver": apiServer } = reservedIdentities;
    add(host, new Map([["reserved:host", ""]]));
    add(remoteNode, new Map([["reserved:remote-node", ""]]));
    add(
      apiServer,
      new Map([
        ["reserved:kube-apiserver", ""],
        ["reserved:remote-node", ""],
      ]),
    );
    for (const node of nodes) {
      const own = node.metadata.name === ownNode;
      const labels: Labels = new Map(
        [...labelsOfNode(node, { own, apiServers })].filter(
          ([key]) => !key.startsWith(nodeLabelSource) || selectedBy.has(key),
        ),
      );
      const addresses = addressesOfNode(node);
      for (const one of addresses) names.set(one, `node:${node.metadata.name}`);
      if (own) {
        itself = { labels, addresses };
        add(host, labels);
      } else for (const one of addresses) byAddress.set(one, add(this.#numberOf(labels), labels));
    }
    return {
      identities: [...identities.values()],
      byAddress,
      own: itself,
      names,
      apiServersElsewhere: [...apiServers].filter((one) => !names.has(one)),
    };
  }

  #numberOf(labels: Labels): number {
    if ([...labels.keys()].every((key) => !key.startsWith(nodeLabelSource)))
      return labels.has("reserved:kube-apiserver")
        ? reservedIdentities["kube-apiserver"]
        : reservedIdentities["remote-node"];
    const text = identityText(labels);
    const number = this.#numbers.get(text) ?? this.#freeNumber(text);
    this.#numbers.set(text, number);
    return number;
  }

  /** The same for the next agent, which finds it in the maps. */
  #freeNumber(text: string): number {
    const used = new Set(this.#numbers.values());
    let number = firstNodeNumber + createHash("sha256").update(text).digest().readUIntBE(0, 3);
    while (used.has(number)) number++;
    return number;
  }
}
