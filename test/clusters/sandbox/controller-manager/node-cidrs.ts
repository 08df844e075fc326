// SPDX-License-Identifier: Apache-2.0
import { addressText, type Cidr, cidrAddress, cidrSize, parseCidr } from "../../../../lib/addresses.ts";
import { objectKey } from "../../../../lib/kube-informer.ts";
import type { KubeObject } from "../../../../lib/kube-object.ts";
import type { Controller } from "./controllers.ts";
import { pathOf, resources } from "./resources.ts";

/** The first subnet of this length in `cluster` that is not taken, as text; undefined when all are. */
export function freeSubnet(cluster: Cidr, maskSize: number, taken: Set<string>): string | undefined {
  const bits = (cluster.family === "ipv4" ? 32 : 128) - maskSize;
  const step = 1n << BigInt(bits);
  const count = cidrSize(cluster) / step;
  for (let index = 0n; index < count && index <= BigInt(taken.size); index++) {
    const text = `${addressText(cidrAddress(cluster, index * step))}/${maskSize}`;
    if (!taken.has(text)) return text;
  }
  return undefined;
}

function nodePodCidrs(node: KubeObject): string[] {
  return node.spec?.podCIDRs ?? (node.spec?.podCIDR ? [node.spec.podCIDR] : []);
}

/** Gives every node a pod network of its own out of each cluster network. */
export function nodeCidrController(controller: Controller): void {
  const { flags } = controller.shared;
  if (!flags.allocateNodeCidrs || flags.clusterCidrs.length === 0) return;
  const clusters = flags.clusterCidrs.map(parseCidr);
  const nodes = controller.informer(resources.nodes);
  /** Given out, but perhaps not in the cache yet. */
  const given = new Map<string, string[]>();
  // One worker: two nodes must not be given the same subnet.
  const queue = controller.queue(reconcile, 1);
  nodes.onChange(({ type, object }) => {
    if (type === "deleted") given.delete(objectKey(object));
    else if (nodePodCidrs(object).length === 0) queue.add(objectKey(object));
  });

  async function reconcile(name: string): Promise<undefined> {
    const node = nodes.get(name);
    if (node === undefined || nodePodCidrs(node).length > 0) return undefined;
    const taken = new Set([...nodes.list().flatMap(nodePodCidrs), ...[...given.values()].flat()]);
    const cidrs: string[] = [];
    for (const cluster of clusters) {
      const subnet = freeSubnet(cluster, flags.nodeCidrMaskSize[cluster.family], taken);
      if (subnet === undefined) {
        const text = `Node ${name} status is now: CIDRNotAvailable`;
        controller.events.normal(node, "CIDRNotAvailable", text);
        throw new Error(`no free /${flags.nodeCidrMaskSize[cluster.family]} left in ${cluster.text}`);
      }
      cidrs.push(subnet);
    }
    given.set(name, cidrs);
    try {
      await controller.client.patch(pathOf(resources.nodes, undefined, name), "strategic", {
        spec: { podCIDR: cidrs[0], podCIDRs: cidrs },
      });
    } catch (error) {
      given.delete(name);
      throw error;
    }
    return undefined;
  }
}
