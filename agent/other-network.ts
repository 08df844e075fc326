// SPDX-License-Identifier: Apache-2.0
import { type Cidr, cidrContains, parseCidr } from "../lib/addresses.ts";
import { ipJson } from "./ip-command.ts";
import { routeProtocol } from "./node-network.ts";

/** A device by which another pod network reaches other nodes' pods. */
export interface CarryingDevice {
  name: string;
  ifindex: number;
  /** Frames with Ethernet headers: our programs can run there, and send there. */
  ethernet: boolean;
}

/** How another pod network, while one is there, reaches each of these pod CIDRs: by text, the device. */
export async function readOtherNetwork(cidrs: readonly Cidr[]): Promise<Map<string, CarryingDevice>> {
  const found = new Map<string, CarryingDevice>();
  if (cidrs.length === 0) return found;
  const devices = new Map<string, CarryingDevice>(
    (await ipJson(["link", "show"])).map(({ ifname: name, ifindex, link_type }) => [
      name,
      { name, ifindex, ethernet: link_type === "ether" },
    ]),
  );
  for (const family of ["ipv4", "ipv6"] as const) {
    const wanted = cidrs.filter((cidr) => cidr.family === family);
    if (wanted.length === 0) continue;
    const routes = await ipJson([family === "ipv4" ? "-4" : "-6", "route", "show", "table", "main"]);
    for (const { dst, dev, protocol, type } of routes) {
      const device = devices.get(dev);
      // A network's own range may be cut into blocks (Calico), so any route inside a pod CIDR counts.
      if (device === undefined || protocol === routeProtocol || !String(dst).includes("/")) continue;
      if (type !== undefined && type !== "unicast") continue;
      const range = parseCidr(dst);
      const carried = wanted.find((cidr) => cidr.prefix <= range.prefix && cidrContains(cidr, range.bytes));
      if (carried !== undefined) found.set(carried.text, device);
    }
  }
  return found;
}
