// SPDX-License-Identifier: Apache-2.0
import type { Family } from "../../../../../lib/addresses.ts";
import type { FirewallTable } from "../firewall-changes.ts";

const masq = '-m comment --comment "flanneld masq"';
const forward = '-m comment --comment "flanneld forward"';

/** Rules as flanneld keeps them with --ip-masq: pods' packets to the world leave with the node's address. */
export function firewallTables(family: Family, network: string, podCidr: string): FirewallTable[] {
  const multicast = family === "ipv4" ? "224.0.0.0/4" : "ff00::/8";
  return [
    {
      table: "nat",
      chains: {
        "FLANNEL-POSTRTG": [
          `-m mark --mark 0x4000/0x4000 ${masq} -j RETURN`,
          `-s ${podCidr} -d ${network} ${masq} -j RETURN`,
          `-s ${network} -d ${podCidr} ${masq} -j RETURN`,
          `! -s ${network} -d ${podCidr} ${masq} -j RETURN`,
          `-s ${network} ! -d ${multicast} ${masq} -j MASQUERADE --random-fully`,
          `! -s ${network} -d ${network} ${masq} -j MASQUERADE --random-fully`,
        ],
      },
      hooks: [{ chain: "POSTROUTING", rule: `${masq} -j FLANNEL-POSTRTG` }],
    },
    {
      table: "filter",
      chains: {
        "FLANNEL-FWD": [`-s ${network} ${forward} -j ACCEPT`, `-d ${network} ${forward} -j ACCEPT`],
      },
      hooks: [{ chain: "FORWARD", rule: `${forward} -j FLANNEL-FWD` }],
    },
  ];
}
