// SPDX-License-Identifier: Apache-2.0
import type { InventoryNode, NodeFacts } from "../model/inventory.ts";
import { addSample, emptySample, type NetworkDetails } from "./details.ts";

/** A node task may hand over more than NodeFacts: the kernel settings that it saw. */
type FactsWithSettings = NodeFacts & { sysctls?: Record<string, string> };

/** rp_filter for all devices; our overlay's own is off, so that this one decides. */
function rpFilterOf(facts: FactsWithSettings): number | undefined {
  if (facts.rpFilter !== undefined) return facts.rpFilter;
  const value = Number(facts.sysctls?.["net.ipv4.conf.all.rp_filter"]);
  return Number.isInteger(value) ? value : undefined;
}

/** MTU of the device that has the node's address. */
function uplinkMtuOf({ addresses }: InventoryNode, facts: NodeFacts): number | undefined {
  if (facts.uplinkMtu !== undefined) return facts.uplinkMtu;
  const isOwn = (text: string): boolean => addresses.includes(text.split("/")[0] ?? "");
  return facts.devices.find((device) => device.addresses.some(isOwn))?.mtu;
}

/** What node tasks say of the network, all nodes together. */
export function summarizeFacts(
  nodes: Iterable<InventoryNode>,
): Pick<NetworkDetails, "strictRpFilter" | "rpFilterKnown" | "uplinkMtus"> {
  const strictRpFilter = emptySample();
  const mtus = new Set<number>();
  let rpFilterKnown = 0;
  for (const node of nodes) {
    if (node.facts === undefined) continue;
    const mtu = uplinkMtuOf(node, node.facts);
    if (mtu !== undefined) mtus.add(mtu);
    const rpFilter = rpFilterOf(node.facts);
    if (rpFilter === undefined) continue;
    rpFilterKnown += 1;
    if (rpFilter === 1) addSample(strictRpFilter, node.name);
  }
  return { strictRpFilter, rpFilterKnown, uplinkMtus: [...mtus].sort((a, b) => a - b) };
}

/** MTU of the old network's device, as seen on a node; undefined when nobody looked. */
export function deviceMtu(nodes: Iterable<InventoryNode>, device: string | undefined): number | undefined {
  if (device === undefined) return undefined;
  for (const { facts } of nodes) {
    const found = facts?.devices.find(({ name }) => name === device);
    if (found !== undefined) return found.mtu;
  }
  return undefined;
}
