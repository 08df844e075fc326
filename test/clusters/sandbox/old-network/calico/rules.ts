// SPDX-License-Identifier: Apache-2.0
import type { FirewallTable } from "../firewall-changes.ts";
import { vxlanName, vxlanPort } from "./names.ts";
import { chainOf, marked, says } from "./rule-text.ts";

const accepted = "0x10000/0x10000";
const fromWorkload = "0x40000/0x40000";
const hostAccepted = says("Host endpoint policy accepted packet.");
const vxlan = `-m multiport --dports ${vxlanPort}`;

/** Felix's chains in every table, without those of endpoints; what has no policy is empty, as it leaves it. */
export function felixTables(): FirewallTable[] {
  return [rawTable(), mangleTable(), natTable(), filterTable()];
}

function hook(chain: string, rule: string): { chain: string; rule: string; first: boolean } {
  return { chain, rule: marked(chain, rule), first: true };
}

function rawTable(): FirewallTable {
  return {
    table: "raw",
    chains: {
      "cali-from-host-endpoint": [],
      "cali-to-host-endpoint": [],
      "cali-rpf-skip": [],
      ...chainOf("cali-PREROUTING", [
        "% -j MARK --set-xmark 0x0/0xf0000",
        `-i cali+ % -j MARK --set-xmark ${fromWorkload}`,
        `% -m mark --mark ${fromWorkload} -j cali-rpf-skip`,
        `% -m mark --mark ${fromWorkload} -m rpfilter --validmark --invert -j DROP`,
        "% -m mark --mark 0x0/0x40000 -j cali-from-host-endpoint",
        `% -m mark --mark ${accepted} -j ACCEPT`,
      ]),
      ...chainOf("cali-OUTPUT", [
        "% -j MARK --set-xmark 0x0/0xf0000",
        "% -j cali-to-host-endpoint",
        `% -m mark --mark ${accepted} -j ACCEPT`,
      ]),
    },
    hooks: [hook("PREROUTING", "% -j cali-PREROUTING"), hook("OUTPUT", "% -j cali-OUTPUT")],
  };
}

function mangleTable(): FirewallTable {
  return {
    table: "mangle",
    chains: {
      "cali-from-host-endpoint": [],
      "cali-to-host-endpoint": [],
      ...chainOf("cali-PREROUTING", [
        "% -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        `% -m mark --mark ${accepted} -j ACCEPT`,
        "% -j cali-from-host-endpoint",
        `% ${hostAccepted} -m mark --mark ${accepted} -j ACCEPT`,
      ]),
      ...chainOf("cali-POSTROUTING", [
        `% -m mark --mark ${accepted} -j RETURN`,
        "% -j MARK --set-xmark 0x0/0xf0000",
        "% -m conntrack --ctstate DNAT -j cali-to-host-endpoint",
        `% ${hostAccepted} -m mark --mark ${accepted} -j RETURN`,
      ]),
    },
    hooks: [hook("PREROUTING", "% -j cali-PREROUTING"), hook("POSTROUTING", "% -j cali-POSTROUTING")],
  };
}

function natTable(): FirewallTable {
  return {
    table: "nat",
    chains: {
      "cali-fip-dnat": [],
      "cali-fip-snat": [],
      ...chainOf("cali-nat-outgoing", [
        "% -m set --match-set cali40masq-ipam-pools src -m set ! --match-set cali40all-ipam-pools dst -j MASQUERADE --random-fully",
      ]),
      ...chainOf("cali-PREROUTING", ["% -j cali-fip-dnat"]),
      ...chainOf("cali-OUTPUT", ["% -j cali-fip-dnat"]),
      ...chainOf("cali-POSTROUTING", [
        "% -j cali-fip-snat",
        "% -j cali-nat-outgoing",
        `-o ${vxlanName} % -m addrtype ! --src-type LOCAL --limit-iface-out -m addrtype --src-type LOCAL -j MASQUERADE --random-fully`,
      ]),
    },
    hooks: [
      hook("PREROUTING", "% -j cali-PREROUTING"),
      hook("OUTPUT", "% -j cali-OUTPUT"),
      hook("POSTROUTING", "% -j cali-POSTROUTING"),
    ],
  };
}

function filterTable(): FirewallTable {
  const allowIn = says("Allow IPv4 VXLAN packets from allowed hosts");
  const dropIn = says("Drop IPv4 VXLAN packets from non-allowed hosts");
  const allowOut = says("Allow IPv4 VXLAN packets to other allowed hosts");
  const clear = "% -j MARK --set-xmark 0x0/0xf0000";
  const empty = [
    "from-host-endpoint",
    "to-host-endpoint",
    "from-hep-forward",
    "to-hep-forward",
    "cidr-block",
  ];
  return {
    table: "filter",
    chains: {
      ...Object.fromEntries(empty.map((chain) => [`cali-${chain}`, []])),
      ...chainOf("cali-wl-to-host", [
        "% -j cali-from-wl-dispatch",
        `% ${says("Configured DefaultEndpointToHostAction")} -j ACCEPT`,
      ]),
      ...chainOf("cali-INPUT", [
        `-p udp % ${allowIn} ${vxlan} -m set --match-set cali40all-vxlan-net src -m addrtype --dst-type LOCAL -j ACCEPT`,
        `-p udp % ${dropIn} ${vxlan} -m addrtype --dst-type LOCAL -j DROP`,
        "-i cali+ % -g cali-wl-to-host",
        `% -m mark --mark ${accepted} -j ACCEPT`,
        clear,
        "% -j cali-from-host-endpoint",
        `% ${hostAccepted} -m mark --mark ${accepted} -j ACCEPT`,
      ]),
      ...chainOf("cali-FORWARD", [
        "% -j MARK --set-xmark 0x0/0xe0000",
        "% -m mark --mark 0x0/0x10000 -j cali-from-hep-forward",
        "-i cali+ % -j cali-from-wl-dispatch",
        "-o cali+ % -j cali-to-wl-dispatch",
        "% -j cali-to-hep-forward",
        "% -j cali-cidr-block",
      ]),
      ...chainOf("cali-OUTPUT", [
        `% -m mark --mark ${accepted} -j ACCEPT`,
        "-o cali+ % -j RETURN",
        `-p udp % ${allowOut} ${vxlan} -m addrtype --src-type LOCAL -m set --match-set cali40all-vxlan-net dst -j ACCEPT`,
        clear,
        "% -m conntrack ! --ctstate DNAT -j cali-to-host-endpoint",
        `% ${hostAccepted} -m mark --mark ${accepted} -j ACCEPT`,
      ]),
    },
    hooks: [
      hook("INPUT", "% -j cali-INPUT"),
      hook("FORWARD", "% -j cali-FORWARD"),
      hook("OUTPUT", "% -j cali-OUTPUT"),
      {
        chain: "FORWARD",
        rule: marked(
          "FORWARD",
          `% ${says("Policy explicitly accepted packet.")} -m mark --mark ${accepted} -j ACCEPT`,
        ),
      },
      { chain: "FORWARD", rule: marked("FORWARD", `% -j MARK --set-xmark ${accepted}`) },
    ],
  };
}
