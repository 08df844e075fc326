// SPDX-License-Identifier: Apache-2.0
import path from "node:path";
import type { OldNetwork } from "../model/inventory.ts";
import type { ResidueItem } from "../model/report.ts";
import { type ConfFile, confFilesOf, confFolder, readConfFiles } from "./cni-files.ts";
import { type FirewallPart, partsOf, procNet, readFirewall } from "./firewall.ts";
import type { Host } from "./host.ts";
import { isNetworkRoute, type Link, type Route, readLinks, readRoutes, routeWords } from "./links.ts";
import { kubeProxyOwner, networkOwners, type Owner } from "./owners.ts";

/** All that an owner left on the node. */
export interface Residue {
  owner: Owner;
  firewall: FirewallPart[];
  nftTables: { family: string; name: string }[];
  ipsets: string[];
  links: Link[];
  routes: { family: "ipv4" | "ipv6"; route: Route }[];
  confs: ConfFile[];
  /** Files and folders that are there: state, leases, other files of the configuration folder. */
  paths: string[];
  /** Plugins in /opt/cni/bin. */
  binaries: string[];
  /** How many virtual servers of IPVS there are, which only `kube-proxy --cleanup` removes. */
  ipvsServers: number;
}

/** What is known of the old network; of a whole OldNetwork only this is used. */
export type NetworkHint = Pick<OldNetwork, "kind"> & Partial<Pick<OldNetwork, "podCIDRs" | "device">>;

const binaryFolder = "/opt/cni/bin";

/** Finds what a pod network left, one Residue an owner. Changes nothing. */
export async function findNetworkResidue(host: Host, network: NetworkHint): Promise<Residue[]> {
  const seen = await look(host);
  const confs = readConfFiles(host);
  const found: Residue[] = [];
  for (const owner of networkOwners(network.kind)) {
    const own = confFilesOf(confs, owner);
    // After the configuration is gone its name must still be known: a removal may have been cut short.
    const names = [...new Set([...own.map(({ name }) => name), ...(wellKnownNames[owner.name] ?? [])])];
    const bridges = new Set(
      [...own.map((conf) => conf.bridge), network.device].filter((name) => name !== undefined),
    );
    const routes = found.length > 0 ? [] : await networkRoutes(host, network.podCIDRs ?? []);
    found.push({
      ...residueOf(seen, owner, names),
      links: seen.links.filter((link) => isOwnLink(link, owner, bridges)),
      routes,
      confs: own,
      paths: pathsOf(host, owner, own, names),
      binaries: owner.binaries
        .filter((name) => host.list(binaryFolder).includes(name))
        .map((name) => `${binaryFolder}/${name}`),
    });
  }
  return found;
}

/** Finds what kube-proxy left, in whatever mode it ran. Changes nothing. */
export async function findKubeProxyResidue(host: Host): Promise<Residue> {
  const seen = await look(host);
  const residue = residueOf(seen, kubeProxyOwner, []);
  return {
    ...residue,
    firewall: residue.firewall.filter((part) => !isOldKubelet(part, seen.firewall)),
    links: seen.links.filter(({ ifname }) => kubeProxyOwner.isDevice(ifname)),
    ipvsServers: countIpvsServers(),
  };
}

/** Kubelets before 1.28 keep the chains for masquerading themselves, with one for dropping that they still have. */
function isOldKubelet({ backend, table, chains }: FirewallPart, all: Seen["firewall"]): boolean {
  const shared = new Set(["KUBE-MARK-MASQ", "KUBE-POSTROUTING"]);
  const same = all.find((entry) => entry.backend.command === backend.command && entry.table === table);
  return same?.chains.has("KUBE-MARK-DROP") === true && chains.every((chain) => shared.has(chain));
}

/** Names of networks in the configurations that these projects ship. */
const wellKnownNames: Record<string, string[]> = {
  flannel: ["cbr0"],
  calico: ["k8s-pod-network"],
  kindnet: ["kindnet"],
};

interface Seen {
  firewall: Awaited<ReturnType<typeof readFirewall>>;
  nftTables: { family: string; name: string }[];
  ipsets: string[];
  links: Link[];
}

async function look(host: Host): Promise<Seen> {
  const [firewall, nftTables, ipsets, links] = await Promise.all([
    readFirewall(host),
    readNftTables(host),
    readIpsets(host),
    readLinks(host),
  ]);
  return { firewall, nftTables, ipsets, links };
}

function residueOf(seen: Seen, owner: Owner, names: readonly string[]): Residue {
  return {
    owner,
    firewall: partsOf(seen.firewall, owner, names),
    nftTables: seen.nftTables.filter(({ name }) => owner.isNftTable(name)),
    ipsets: seen.ipsets.filter((name) => owner.isIpset(name)),
    links: [],
    routes: [],
    confs: [],
    paths: [],
    binaries: [],
    ipvsServers: 0,
  };
}

/** Tables of nftables, without their contents. */
export async function readNftTables(host: Host): Promise<{ family: string; name: string }[]> {
  if (!host.has("nft")) return [];
  return parseNftTables((await host.run("nft", ["list", "tables"], { allowFailure: true })).stdout);
}

/** Reads `nft list tables`. */
export function parseNftTables(text: string): { family: string; name: string }[] {
  return [...text.matchAll(/^table (\S+) (\S+)$/gm)].map(([, family = "", name = ""]) => ({ family, name }));
}

/** Names of all ipsets. */
export async function readIpsets(host: Host): Promise<string[]> {
  if (!host.has("ipset")) return [];
  const { stdout } = await host.run("ipset", ["list", "-name"], { allowFailure: true });
  return stdout.split("\n").filter((name) => name !== "");
}

/** Bridges of other people's containers and machines, whatever a configuration says. */
const foreignDevice = /^(docker|podman|virbr|lxcbr|br-|shunt|shv|lo$)/;

function isOwnLink({ ifname, linkinfo, master }: Link, owner: Owner, bridges: ReadonlySet<string>): boolean {
  if (foreignDevice.test(ifname)) return false;
  if (owner.isDevice(ifname)) return true;
  if (master !== undefined && bridges.has(master)) return true;
  // A configuration may name the uplink (host-gw): only what such networks make themselves is theirs.
  return bridges.has(ifname) && ["bridge", "vxlan"].includes(linkinfo?.info_kind ?? "");
}

async function networkRoutes(host: Host, podCidrs: readonly string[]): Promise<Residue["routes"]> {
  const families = ["ipv4", "ipv6"] as const;
  const read = await Promise.all(families.map((family) => readRoutes(host, family)));
  return families.flatMap((family, index) =>
    read[index]!.filter((route) => isNetworkRoute(route, podCidrs)).map((route) => ({ family, route })),
  );
}

function pathsOf(host: Host, owner: Owner, confs: readonly ConfFile[], names: readonly string[]): string[] {
  const leases = [
    ...confs.map((conf) => `${conf.leases}/${conf.name}`),
    ...names.map((name) => `/var/lib/cni/networks/${name}`),
  ];
  const wanted = new Set([...owner.paths, ...leases.filter((folder) => !folder.endsWith("/"))]);
  const others = host
    .list(confFolder)
    .filter((file) => owner.confFiles?.test(file) === true)
    .map((file) => `${confFolder}/${file}`)
    .filter((file) => !confs.some((conf) => conf.path === file));
  return [...[...wanted].filter((file) => exists(host, file)), ...others];
}

function exists(host: Host, file: string): boolean {
  return host.list(path.posix.dirname(file)).includes(path.posix.basename(file));
}

function countIpvsServers(): number {
  return procNet("ip_vs")
    .split("\n")
    .filter((line) => /^(TCP|UDP|SCTP|FWM) /.test(line)).length;
}

/** How many entries of one kind are named one by one. */
const namedAtMost = 200;

/** The entries as they are reported, without rules inside its own chains. */
export function residueItems(residue: Residue, node: string): ResidueItem[] {
  const owner = residue.owner.name;
  const group = (kind: ResidueItem["kind"], names: string[]): ResidueItem[] => {
    const items = names.slice(0, namedAtMost).map((name) => ({ node, kind, name, owner }));
    const more = names.length - items.length;
    return more > 0 ? [...items, { node, kind, name: `and ${more} more`, owner }] : items;
  };
  const { firewall } = residue;
  const where = ({ backend, table }: FirewallPart) => `${backend.command} ${table}`;
  return [
    ...group(
      "rule",
      firewall.flatMap((part) => part.hooks.map(({ chain, text }) => `${where(part)} ${chain}: ${text}`)),
    ),
    ...group(
      "chain",
      firewall.flatMap((part) => part.chains.map((chain) => `${where(part)} ${chain}`)),
    ),
    ...group(
      "table",
      residue.nftTables.map(({ family, name }) => `nft ${family} ${name}`),
    ),
    ...group("table", residue.ipvsServers > 0 ? [`ipvs: ${residue.ipvsServers} virtual servers`] : []),
    ...group("ipset", residue.ipsets),
    ...group(
      "route",
      residue.routes.map(({ route }) => routeWords(route).join(" ")),
    ),
    ...group(
      "device",
      residue.links.filter((link) => !isAtRest(link)).map(({ ifname }) => ifname),
    ),
    ...group("file", [...residue.confs.map((conf) => conf.path), ...residue.paths, ...residue.binaries]),
  ];
}

/** The kernel's own tunl0 cannot be deleted: down and without addresses is as good as gone. */
export function isAtRest({ ifname, flags = [], addr_info = [] }: Link): boolean {
  return ifname === "tunl0" && !flags.includes("UP") && addr_info.length === 0;
}
