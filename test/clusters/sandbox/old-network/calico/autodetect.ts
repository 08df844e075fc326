// SPDX-License-Identifier: Apache-2.0
import { ShuntError } from "../../../../../lib/errors.ts";
import type { NodeFacts } from "../follow-nodes.ts";
import { ofFamily } from "../follow-nodes.ts";
import { ipJson } from "../ip-command.ts";

/** The node's address and where it is. */
export interface Autodetected {
  device: string;
  address: string;
  prefix: number;
  mtu: number;
}

/** Devices that `first-found` passes over; what another network adds is taken for the node's own. */
const skipped =
  /^(docker|cbr|dummy|virbr|lxcbr|veth|cali|tunl|flannel|kube-ipvs|cni|vxlan\.calico|vxlan-v6\.calico|wireguard\.cali|wg-v6\.cali|nodelocaldns)|^lo$/;

/** Finds it by IP_AUTODETECTION_METHOD: `first-found` (the default) or `kubernetes-internal-ip`. */
export async function autodetect(method: string, self: NodeFacts): Promise<Autodetected> {
  const internal = ofFamily(self.addresses, "ipv4");
  for (const link of await ipJson(["-4", "address", "show", "up"])) {
    const found = (link.addr_info ?? []).find(({ local }: { local: string }) =>
      method === "kubernetes-internal-ip" ? local === internal : !skipped.test(link.ifname),
    );
    if (found !== undefined)
      return { device: link.ifname, address: found.local, prefix: found.prefixlen, mtu: link.mtu };
  }
  throw new ShuntError(`No IPv4 address of this node by IP_AUTODETECTION_METHOD=${method}`);
}
