// SPDX-License-Identifier: Apache-2.0
import { nodeExec } from "../clusters/index.ts";

/** Devices of pods, and what hangs on them, come and go with pods. */
const ofPods = "(shv|veth|cali)[0-9a-f]+";

/** Tables and chains without rules do nothing; iptables leaves them. The kubelet makes chains of its own on any node. */
const idle =
  "^(#|\\*|COMMIT|:(PREROUTING|INPUT|FORWARD|OUTPUT|POSTROUTING) ACCEPT)|KUBE-(FIREWALL|KUBELET-CANARY|IPTABLES-HINT)";

/** What a pod network and kube-proxy set up on a node: a title, and a shell command that prints lines. */
const looks: [title: string, script: string][] = [
  [
    "link",
    `ip -o link | sed -E 's/^[0-9]+: //; s/ (qdisc|state|group) [^ ]+//g; s/@[^:]+//; s/\\\\ .*//' | grep -vE '^${ofPods}'`,
  ],
  ["address", `ip -o addr | sed -E 's/^[0-9]+: //; s/ +/ /g; s/\\\\ .*//' | grep -vE '^${ofPods}|fe80'`],
  ["route", `ip route show table all | grep -vE 'dev ${ofPods}|table local'`],
  ["route6", `ip -6 route show table all | grep -vE 'dev ${ofPods}|table local|fe80|ff00'`],
  ["rule", "ip rule; ip -6 rule"],
  [
    "neighbour",
    `ip neigh show nud permanent | grep -vE 'dev ${ofPods}'; bridge fdb show | grep -E 'dst' || true`,
  ],
  ["iptables", `iptables-save | grep -vE '${idle}|KUBE-(SEP|SVC|EXT|FW)-' | sed -E 's/ \\[[0-9:]+\\]//'`],
  ["ip6tables", `ip6tables-save | grep -vE '${idle}|KUBE-(SEP|SVC|EXT|FW)-' | sed -E 's/ \\[[0-9:]+\\]//'`],
  ["legacy", `iptables-legacy-save 2>/dev/null | grep -vE '${idle}' | sed -E 's/ \\[[0-9:]+\\]//'`],
  ["nft", "nft -s list tables | grep -vE '^table ip6? (filter|nat|mangle|raw)$'"],
  ["ipset", "ipset list -n 2>/dev/null || true"],
  ["file", "find /etc/cni/net.d /opt/cni/bin /run/flannel /var/lib/calico -type f 2>/dev/null | sort"],
  ["lease", "ls -d /var/lib/cni/networks/* 2>/dev/null || true"],
  [
    "sysctl",
    "cd /proc/sys/net; for f in ipv4/ip_forward ipv6/conf/all/forwarding ipv4/conf/*/rp_filter ipv4/conf/*/route_localnet netfilter/nf_conntrack_tcp_be_liberal; do echo $f=$(cat $f 2>/dev/null); done | grep -vE 'conf/" +
      ofPods +
      "/'",
  ],
];

/** Everything that a pod network or kube-proxy leaves on a node, a line each, without what belongs to single pods. */
export async function networkState(cluster: string, node: string): Promise<string[]> {
  const script = looks
    .map(([title, command]) => `{ ${command}; } 2>/dev/null | sed 's/^/${title}: /'`)
    .join("\n");
  const { stdout } = await nodeExec(cluster, node, ["sh", "-c", `${script}\ntrue`]);
  return stdout
    .split("\n")
    .map((line) => line.trimEnd())
    .filter((line) => line !== "");
}

/** Lines of one that the other has not, as a diff shows them. */
export function differences(before: readonly string[], after: readonly string[]): string[] {
  const [had, has] = [new Set(before), new Set(after)];
  return [
    ...before.filter((line) => !has.has(line)).map((line) => `- ${line}`),
    ...after.filter((line) => !had.has(line)).map((line) => `+ ${line}`),
  ];
}
