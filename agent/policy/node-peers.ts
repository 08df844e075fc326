// SPDX-License-Identifier: Apache-2.0
// Nodes as peers of policies: the reserved identities, and numbers of their own where policies select nodes by labels.
import { addressBytes, addressText, isAddress } from "../../lib/addresses.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import { nodeAddresses, nodeFacts } from "../node-model.ts";
import { reservedIdentities } from "./entities.ts";
import { identityText } from "./identity.ts";
import type { Labels, Peer, Selector } from "./model.ts";
import type { Identity } from "./peer-index.ts";
import { exists } from "./selector.ts";

/** Numbers of nodes are this node's own, like those of prefixes, and beyond them. */
const firstNodeNumber = 1 << 25;
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
    const ofNodes = new Set<string>();
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
      const labels = new Map(
        [...labelsOfNode(node, { own, apiServers })].filter(
          ([key]) => !key.startsWith(nodeLabelSource) || selectedBy.has(key),
        ),
      );
      const addresses = addressesOfNode(node);
      for (const one of addresses) ofNodes.add(one);
      if (own) add(host, labels);
      else for (const one of addresses) byAddress.set(one, add(this.#numberOf(labels), labels));
    }
    return {
      identities: [...identities.values()],
      byAddress,
      apiServersElsewhere: [...apiServers].filter((one) => !ofNodes.has(one)),
    };
  }

  #numberOf(labels: Labels): number {
    if ([...labels.keys()].every((key) => !key.startsWith(nodeLabelSource)))
      return labels.has("reserved:kube-apiserver")
        ? reservedIdentities["kube-apiserver"]
        : reservedIdentities["remote-node"];
    const text = identityText(labels);
    const number = this.#numbers.get(text) ?? firstNodeNumber + this.#numbers.size;
    this.#numbers.set(text, number);
    return number;
  }
}
