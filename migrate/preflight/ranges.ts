// SPDX-License-Identifier: Apache-2.0
import { addressBytes, type Cidr, cidrContains, cidrsOverlap, parseCidr } from "../../lib/addresses.ts";
import type { Finding } from "../model/inventory.ts";
import { block, type CheckContext, limited } from "./check.ts";

const safely = (text: string): Cidr[] => {
  try {
    return [parseCidr(text)];
  } catch {
    return [];
  }
};

/** Pod, Service and node addresses must be three worlds that do not meet. Sorted, so that 5,000 nodes take no time. */
export function overlaps({ inventory }: CheckContext): Finding[] {
  const services = inventory.serviceCIDRs.flatMap(safely);
  const pods = inventory.nodes.flatMap((node) =>
    node.podCIDRs.flatMap(safely).map((cidr) => ({ object: `Node ${node.name}`, cidr })),
  );
  const remedy =
    "Ranges are set when a cluster and its nodes are made: use --strategy new-cluster with ranges of their own.";
  const found: Finding[] = [];
  const clash = (object: string, problem: string): number =>
    found.push(block({ id: "range-overlap", object, problem, remedy }));
  const whole = inventory.network.podCIDRs.flatMap(safely);
  for (const service of services) {
    for (const cidr of whole)
      if (cidrsOverlap(cidr, service))
        clash("cluster", `pod range ${cidr.text} overlaps Service range ${service.text}`);
    for (const { object, cidr } of pods)
      if (cidrsOverlap(cidr, service))
        clash(object, `pod CIDR ${cidr.text} overlaps Service range ${service.text}`);
  }
  for (const node of inventory.nodes)
    for (const address of node.addresses)
      for (const cidr of [...whole, ...services])
        if (contains(cidr, address))
          clash(
            `Node ${node.name}`,
            `its address ${address} lies in ${cidr.text}, a range of pods or Services`,
          );
  return limited([...found, ...neighbours(pods, remedy)]);
}

function contains(cidr: Cidr, address: string): boolean {
  try {
    return cidrContains(cidr, addressBytes(address));
  } catch {
    return false;
  }
}

function neighbours(pods: { object: string; cidr: Cidr }[], remedy: string): Finding[] {
  const sorted = pods
    .map((entry) => ({ ...entry, key: Buffer.from(entry.cidr.bytes) }))
    .sort((a, b) => Buffer.compare(a.key, b.key) || a.cidr.prefix - b.cidr.prefix);
  const found: Finding[] = [];
  for (const [index, entry] of sorted.entries()) {
    const next = sorted[index + 1];
    if (next !== undefined && entry.cidr.family === next.cidr.family && cidrsOverlap(entry.cidr, next.cidr))
      found.push(
        block({
          id: "range-overlap",
          object: entry.object,
          problem: `pod CIDR ${entry.cidr.text} overlaps ${next.cidr.text} of ${next.object}`,
          remedy,
        }),
      );
  }
  return found;
}
