// SPDX-License-Identifier: Apache-2.0
import { networkInterfaces } from "node:os";
import { addressBytes, type Cidr, cidrContains, parseCidr } from "../lib/addresses.ts";
import { ShuntError } from "../lib/errors.ts";
import { ipJson } from "./ip-command.ts";
import type { NodeFacts } from "./node-model.ts";
import { overlayDevice, podDevicePrefix } from "./paths.ts";

export interface Uplink {
  name: string;
  ifindex: number;
  mtu: number;
  /** Kind of a virtual device, as `ip link` says it; undefined for hardware. */
  kind?: string;
  addresses: string[];
  /** What the device reaches without a router, from its own addresses. */
  onLink: Cidr[];
}

/** The devices that carry the node's InternalIPs, else those of the default routes. Throws when there is none. */
export async function findUplinks(own: NodeFacts): Promise<Uplink[]> {
  const links = await ipJson(["address", "show"]);
  const wanted = new Set(Object.values(own.addresses));
  let found = links.filter((link) => (link.addr_info ?? []).some((entry: any) => wanted.has(entry.local)));
  if (found.length === 0) {
    const routes = [
      ...(await ipJson(["-4", "route", "show", "default"])),
      ...(await ipJson(["-6", "route", "show", "default"])),
    ];
    const devices = new Set(routes.map((route) => route.dev));
    found = links.filter((link) => devices.has(link.ifname));
  }
  found = found.filter((link) => link.ifname !== "lo" && link.ifname !== overlayDevice);
  if (found.length === 0)
    throw new ShuntError(
      `No device carries the node's address ${[...wanted].join(", ") || "(none)"}, and there is no default route`,
      { code: "NoUplink", remedy: "Give kubelet --node-ip an address of one of the node's devices." },
    );
  return found.map((link) => {
    const own: any[] = link.addr_info.filter((entry: any) => entry.scope === "global");
    return {
      name: link.ifname,
      ifindex: link.ifindex,
      mtu: link.mtu,
      kind: link.linkinfo?.info_kind,
      addresses: own.map(({ local }) => local),
      onLink: own.map(({ local, prefixlen }) => parseCidr(`${local}/${prefixlen}`)),
    };
  });
}

/** Whether this address is a neighbour on the device, without a router between. */
export function isNeighbour(uplink: Uplink, address: string): boolean {
  return uplink.onLink.some((cidr) => cidrContains(cidr, addressBytes(address)));
}

/** Bytes of a pod's largest packet: what VXLAN adds is taken off. */
export function podMtu(
  uplinks: readonly Uplink[],
  options: { configured: number; routing: "vxlan" | "direct"; underlay: "ipv4" | "ipv6" },
): number {
  if (options.configured > 0) return options.configured;
  const smallest = Math.min(...uplinks.map((uplink) => uplink.mtu));
  if (options.routing === "direct") return smallest;
  return smallest - (options.underlay === "ipv4" ? 50 : 70);
}

/** The link-local addresses of devices. */
export function linkLocalAddresses(uplinks: readonly Uplink[]): string[] {
  const interfaces = networkInterfaces();
  return uplinks.flatMap(({ name }) =>
    (interfaces[name] ?? []).map(({ address }) => address).filter((address) => /^fe80:/i.test(address)),
  );
}

/** All addresses of the node itself, without loopback and link-local ones. */
export function ownAddresses(): Set<string> {
  const found = new Set<string>();
  for (const [device, addresses] of Object.entries(networkInterfaces()))
    for (const { address, internal } of addresses ?? [])
      if (!internal && !device.startsWith(podDevicePrefix) && !/^fe80:/i.test(address)) found.add(address);
  return found;
}
