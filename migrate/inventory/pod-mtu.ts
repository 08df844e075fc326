// SPDX-License-Identifier: Apache-2.0
import type { Inventory, OldNetwork } from "../model/inventory.ts";

const overheads: Record<OldNetwork["encapsulation"], number> = {
  vxlan: 50,
  geneve: 50,
  ipip: 20,
  wireguard: 60,
  none: 0,
  unknown: 50,
};

/** Bytes of a pod's largest packet, on the old network and on ours. */
export interface PodMtus {
  /** Undefined when neither its configuration nor a node tells it. */
  old?: number;
  /** What the agent would take by itself; undefined when the uplinks are not known at all. */
  ours?: number;
  /** The uplinks were seen; otherwise they are taken to be what the old network's MTU lets expect. */
  seen: boolean;
}

/** What VXLAN adds between these nodes. */
export function tunnelBytes({ nodes }: Pick<Inventory, "nodes">): number {
  const hasIpv4 = nodes.some(({ addresses }) => addresses.some((address) => !address.includes(":")));
  return hasIpv4 || nodes.length === 0 ? 50 : 70;
}

/** Compares the two; `routing` is how the agent would send packets between nodes. */
export function podMtus(inventory: Inventory, routing: "vxlan" | "direct"): PodMtus {
  const { mtu: old, encapsulation } = inventory.network;
  const [smallest] = inventory.details?.network.uplinkMtus ?? [];
  const uplink = smallest ?? (old === undefined ? undefined : old + overheads[encapsulation]);
  return {
    ...(old === undefined ? {} : { old }),
    ...(uplink === undefined ? {} : { ours: uplink - (routing === "vxlan" ? tunnelBytes(inventory) : 0) }),
    seen: smallest !== undefined,
  };
}
