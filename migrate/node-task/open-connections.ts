// SPDX-License-Identifier: Apache-2.0
import { readFileSync, writeFileSync } from "node:fs";
import { type TrackedConnection, visitConnections } from "./conntrack.ts";
import type { Host } from "./host.ts";

/**
 * The kernel translates the connections that it has translated so far for as long as any chain of type nat is there
 * (nf_nat_register_fn in net/netfilter/nf_nat_core.c), and any rule that asks about connections (nf_ct_netns_get in
 * nf_conntrack_proto.c). This table has one of each and changes no packet, so that those of the old network and of
 * kube-proxy can go.
 */
const table = "shunt_open_connections";
const families = ["ip", "ip6"] as const;

// The others end by themselves in a minute or two.
const liveStates = new Set(["ESTABLISHED", "CLOSE_WAIT", "FIN_WAIT"]);

const endedStates = ["LAST_ACK", "TIME_WAIT", "CLOSE"];

/** Whether the kernel rewrites this TCP connection's addresses, and it can still carry data. */
export function isTranslatedNow(connection: TrackedConnection): boolean {
  return liveStates.has(connection.state ?? "") && isRewritten(connection);
}

function isRewritten({ protocol, original, reply }: TrackedConnection): boolean {
  const differs =
    original.dst !== reply.src ||
    original.dport !== reply.sport ||
    original.src !== reply.dst ||
    original.sport !== reply.dport;
  return protocol === "tcp" && differs;
}

async function countWhere(host: Host, matches: (one: TrackedConnection) => boolean): Promise<number> {
  let connections = 0;
  await visitConnections(host, (connection) => {
    if (matches(connection)) connections++;
  });
  return connections;
}

/**
 * Before chains of type nat go: keeps connections translated. Nothing when there are none. Those that have ended count
 * until they are forgotten: only with such a chain does the kernel give a new connection another port when an old
 * one's answers look the same (nf_nat_used_tuple in nf_nat_core.c); without one it drops the new one.
 */
export async function holdConnections(host: Host): Promise<void> {
  if (!host.has("nft") || (await countWhere(host, isRewritten)) === 0) return;
  const lines = families.flatMap((family) => [
    `add table ${family} ${table}`,
    `add chain ${family} ${table} hold { type nat hook input priority 100; policy accept; }`,
    `flush chain ${family} ${table} hold`,
    `add rule ${family} ${table} hold ct state established accept`,
  ]);
  await host.run("nft", ["-f", "-"], { input: `${lines.join("\n")}\n` });
}

/** Lets go, once nothing is translated any more; with `force` in any case. Returns how many connections there are. */
export async function releaseConnections(host: Host, force: boolean): Promise<number> {
  const connections = await countWhere(host, isTranslatedNow);
  if (!host.has("nft") || (connections > 0 && !force)) return connections;
  for (const state of host.has("conntrack") ? endedStates : [])
    for (const kind of ["--src-nat", "--dst-nat"])
      await host.run("conntrack", ["-D", "-p", "tcp", "--state", state, kind], { allowFailure: true });
  for (const family of families)
    await host.run("nft", ["delete", "table", family, table], { allowFailure: true });
  return connections;
}

const routeLocalnet = "/proc/sys/net/ipv4/conf/all/route_localnet";
const sysctlFolders = ["/etc", "/run", "/usr/local/lib", "/usr/lib"].map((folder) => `${folder}/sysctl.d`);
const keepsRouteLocalnet = /^\s*-?net[./]ipv4[./]conf[./]all[./]route_localnet\s*=\s*1/m;

/**
 * kube-proxy in iptables mode lets 127.0.0.1 be routed, for NodePorts there; connections to those need it to the end.
 * It goes back to the kernel's default, unless the node's own configuration asks for it (sysctl.d(5)). A kube-proxy
 * that comes back sets it again.
 */
export function resetRouteLocalnet(host: Host): void {
  const files = [
    "/etc/sysctl.conf",
    ...sysctlFolders.flatMap((folder) => host.list(folder).map((name) => `${folder}/${name}`)),
  ];
  if (files.some((file) => keepsRouteLocalnet.test(host.read(file) ?? ""))) return;
  if (readFileSync(routeLocalnet, "utf8").trim() !== "0") writeFileSync(routeLocalnet, "0");
}
