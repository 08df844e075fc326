// SPDX-License-Identifier: Apache-2.0
// What a removed network was, so that a rollback can put it back.
import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import path from "node:path";
import { type Backend, type FirewallPart, readFirewall, restoreArgs } from "./firewall.ts";
import type { Host } from "./host.ts";
import { type Link, type Route, readLinks, routeWords } from "./links.ts";
import { type Residue, readIpsets } from "./residue.ts";

interface SavedFile {
  path: string;
  mode: number;
  uid: number;
  gid: number;
  /** One of: bytes, target of a link, or neither for a folder. */
  base64?: string;
  link?: string;
}

interface SavedFirewall {
  backend: Backend;
  table: string;
  chains: string[];
  rules: { chain: string; text: string }[];
  hooks: { chain: string; text: string; position: number }[];
}

/** All that `restoreNetwork` needs; plain JSON. */
export interface SavedNetwork {
  version: 1;
  files: SavedFile[];
  firewall: SavedFirewall[];
  /** `nft list table` of each. */
  nftTables: string[];
  /** `ipset save` of each. */
  ipsets: string[];
  links: Link[];
  routes: { family: "ipv4" | "ipv6"; route: Route }[];
}

/** Larger files are not kept: the network's own DaemonSet installs its programs again. */
const largestFileBytes = 256 * 1024;

/** Reads all of it, before a removal. */
export async function saveNetwork(host: Host, found: readonly Residue[]): Promise<SavedNetwork> {
  const saved: SavedNetwork = {
    version: 1,
    files: [],
    firewall: [],
    nftTables: [],
    ipsets: [],
    links: [],
    routes: [],
  };
  for (const residue of found) {
    saved.firewall.push(...residue.firewall.map(savedFirewall));
    for (const { family, name } of residue.nftTables)
      saved.nftTables.push((await host.run("nft", ["list", "table", family, name])).stdout);
    for (const name of residue.ipsets) saved.ipsets.push((await host.run("ipset", ["save", name])).stdout);
    saved.links.push(...residue.links.filter((link) => link.linkinfo?.info_kind !== "veth"));
    saved.routes.push(...residue.routes);
    const paths = [...residue.paths, ...residue.binaries, ...residue.confs.map((conf) => conf.path)];
    saved.files.push(...paths.flatMap((file) => saveFile(host, file)));
  }
  const known = new Set<string>();
  saved.files = saved.files.filter((file) => !known.has(file.path) && known.add(file.path));
  return saved;
}

function savedFirewall({ backend, table, chains, rules, hooks }: FirewallPart): SavedFirewall {
  return {
    backend,
    table,
    chains,
    rules: rules.map(({ chain, text }) => ({ chain, text })),
    hooks: hooks.map(({ chain, text, position }) => ({ chain, text, position })),
  };
}

function saveFile(host: Host, file: string): SavedFile[] {
  const real = host.path(file);
  const stat = lstatSync(real, { throwIfNoEntry: false });
  if (stat === undefined) return [];
  const base = { path: file, mode: stat.mode & 0o7777, uid: stat.uid, gid: stat.gid };
  if (stat.isSymbolicLink()) return [{ ...base, link: readlinkSync(real) }];
  if (stat.isDirectory())
    return [base, ...readdirSync(real).flatMap((name) => saveFile(host, path.posix.join(file, name)))];
  if (!stat.isFile() || stat.size > largestFileBytes) return [];
  return [{ ...base, base64: readFileSync(real).toString("base64") }];
}

/** Puts back what is not there; what is there already stays as it is. Says what it did. */
export async function restoreNetwork(host: Host, saved: SavedNetwork): Promise<string[]> {
  return [
    ...(await restoreLinks(host, saved.links)),
    ...(await restoreRoutes(host, saved.routes)),
    ...(await restoreIpsets(host, saved.ipsets)),
    ...(await restoreFirewall(host, saved.firewall)),
    ...(await restoreNft(host, saved.nftTables)),
    ...restoreFiles(host, saved.files),
  ];
}

async function restoreLinks(host: Host, links: readonly Link[]): Promise<string[]> {
  const present = new Set((await readLinks(host)).map(({ ifname }) => ifname));
  const done: string[] = [];
  for (const link of links) {
    if (present.has(link.ifname) && link.ifname !== "tunl0") continue;
    const made = linkCommands(link);
    for (const args of made) await host.run("ip", args);
    if (made.length > 0) done.push(`device ${link.ifname}`);
  }
  return done;
}

/** The `ip` commands that make a device as it was; none for kinds that only their daemon can make. */
export function linkCommands({
  ifname,
  mtu,
  address,
  linkinfo,
  addr_info = [],
  flags = [],
}: Link): string[][] {
  const data = linkinfo?.info_data ?? {};
  const commands: string[][] = [];
  if (linkinfo?.info_kind === "bridge") commands.push(["link", "add", ifname, "type", "bridge"]);
  else if (linkinfo?.info_kind === "vxlan") {
    const local = data.local ?? data.local6;
    const words = [
      ...["id", String(data.id), "dstport", String(data.port)],
      ...(local === undefined ? [] : ["local", String(local)]),
      ...(data.link === undefined ? [] : ["dev", String(data.link)]),
      data.learning === false ? "nolearning" : "learning",
    ];
    commands.push(["link", "add", ifname, "type", "vxlan", ...words]);
  } else if (ifname !== "tunl0") return [];
  const isEthernet = ifname !== "tunl0" && address !== undefined;
  commands.push([
    ...["link", "set", ifname, "mtu", String(mtu)],
    ...(isEthernet ? ["address", address] : []),
    flags.includes("UP") ? "up" : "down",
  ]);
  for (const { family, local, prefixlen, scope } of addr_info)
    if (family === "inet" || scope !== "link")
      commands.push(["address", "replace", `${local}/${prefixlen}`, "dev", ifname, "scope", scope]);
  return commands;
}

async function restoreRoutes(host: Host, routes: SavedNetwork["routes"]): Promise<string[]> {
  const done: string[] = [];
  for (const { family, route } of routes) {
    const words = routeWords(route);
    const args = [family === "ipv4" ? "-4" : "-6", "route", "add", ...words];
    // A route over a device that only the daemon makes comes back with it.
    const { exitCode } = await host.run("ip", args, { allowFailure: true });
    if (exitCode === 0) done.push(`route ${words.join(" ")}`);
  }
  return done;
}

async function restoreIpsets(host: Host, sets: readonly string[]): Promise<string[]> {
  const present = new Set(sets.length === 0 ? [] : await readIpsets(host));
  const missing = sets
    .map((input) => ({ input, name: input.split(" ")[1] ?? "" }))
    .filter(({ name }) => !present.has(name));
  for (const { input } of missing) await host.run("ipset", ["restore", "-exist"], { input });
  return missing.map(({ name }) => `ipset ${name}`);
}

async function restoreFirewall(host: Host, parts: readonly SavedFirewall[]): Promise<string[]> {
  const now = await readFirewall(host);
  const done: string[] = [];
  for (const part of parts) {
    const same = (table: { backend: Backend; table: string }) =>
      table.backend.command === part.backend.command && table.table === part.table;
    const input = restoreInput(part, now.find(same));
    if (input === "") continue;
    await host.run(`${part.backend.command}-restore`, restoreArgs(part.backend), { input });
    done.push(`${part.backend.command} ${part.table}`);
  }
  return done;
}

/** What `iptables-restore --noflush` must be given for what is missing. */
function restoreInput(
  part: SavedFirewall,
  now: { chains: Map<string, string>; rules: { chain: string; text: string }[] } | undefined,
): string {
  const missing = new Set(part.chains.filter((chain) => now?.chains.has(chain) !== true));
  const hasHook = (hook: { chain: string; text: string }) =>
    now?.rules.some((rule) => rule.chain === hook.chain && rule.text === hook.text) === true;
  const lengths = new Map<string, number>();
  for (const { chain } of now?.rules ?? []) lengths.set(chain, (lengths.get(chain) ?? 0) + 1);
  const hooks = part.hooks
    .filter((hook) => !hasHook(hook))
    .map(({ chain, text, position }) => {
      const length = lengths.get(chain) ?? 0;
      lengths.set(chain, length + 1);
      return `-I ${chain} ${Math.min(position, length + 1)} ${text}`;
    });
  const lines = [
    ...[...missing].map((chain) => `:${chain} - [0:0]`),
    ...part.rules.filter(({ chain }) => missing.has(chain)).map(({ chain, text }) => `-A ${chain} ${text}`),
    ...hooks,
  ];
  return lines.length === 0 ? "" : `*${part.table}\n${lines.join("\n")}\nCOMMIT\n`;
}

async function restoreNft(host: Host, tables: readonly string[]): Promise<string[]> {
  const done: string[] = [];
  for (const input of tables) {
    const [, family = "", name = ""] = /^table (\S+) (\S+)/.exec(input) ?? [];
    const { exitCode } = await host.run("nft", ["list", "table", family, name], { allowFailure: true });
    if (exitCode === 0) continue;
    await host.run("nft", ["-f", "-"], { input });
    done.push(`nft ${family} ${name}`);
  }
  return done;
}

function restoreFiles(host: Host, files: readonly SavedFile[]): string[] {
  const done: string[] = [];
  for (const file of files) {
    const real = host.path(file.path);
    if (lstatSync(real, { throwIfNoEntry: false }) !== undefined) continue;
    mkdirSync(path.dirname(real), { recursive: true });
    if (file.link !== undefined) symlinkSync(file.link, real);
    else if (file.base64 === undefined) mkdirSync(real);
    else writeFileSync(real, Buffer.from(file.base64, "base64"));
    if (file.link === undefined) {
      chmodSync(real, file.mode);
      chownSync(real, file.uid, file.gid);
    }
    done.push(`file ${file.path}`);
  }
  return done;
}
