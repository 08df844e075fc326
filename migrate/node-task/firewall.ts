// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import type { Host } from "./host.ts";
import { parseIptablesSave, type SavedRule, type SavedTable } from "./iptables-save.ts";
import type { Owner } from "./owners.ts";

/** One of the four ways into the kernel's packet filter: `ip6tables-nft` … */
export interface Backend {
  command: string;
  family: "ipv4" | "ipv6";
  kind: "legacy" | "nft";
}

const backends: Backend[] = [
  { command: "iptables-legacy", family: "ipv4", kind: "legacy" },
  { command: "ip6tables-legacy", family: "ipv6", kind: "legacy" },
  { command: "iptables-nft", family: "ipv4", kind: "nft" },
  { command: "ip6tables-nft", family: "ipv6", kind: "nft" },
];

/** One table of one backend as it is now. */
export interface FirewallTable extends SavedTable {
  backend: Backend;
}

/** Chains and rules of an owner in one table. */
export interface FirewallPart {
  backend: Backend;
  table: string;
  chains: string[];
  /** Rules in chains that stay, jumps to its chains among them. */
  hooks: SavedRule[];
  /** Rules inside its chains. */
  rules: SavedRule[];
}

/** Reads all tables. Changes nothing: the legacy tools are asked only where legacy tables are, which they would make. */
export async function readFirewall(host: Host): Promise<FirewallTable[]> {
  const read = await Promise.all(
    backends.map(async (backend) => {
      const names = backend.family === "ipv4" ? "ip_tables_names" : "ip6_tables_names";
      if (backend.kind === "legacy" && !hasText(procNet(names))) return [];
      if (!host.has(`${backend.command}-save`)) return [];
      const { stdout } = await host.run(`${backend.command}-save`, [], { allowFailure: true });
      return parseIptablesSave(stdout).map((table) => ({ ...table, backend }));
    }),
  );
  return read.flat();
}

/** A file of the network of this process. */
export function procNet(name: string): string {
  try {
    return readFileSync(`/proc/self/net/${name}`, "utf8");
  } catch {
    return "";
  }
}

const hasText = (text: string): boolean => text.trim() !== "";

/** A name that the CNI plugins `bridge` and `portmap` put into their rules' comments. */
const isNamed = (rule: SavedRule, networks: readonly string[]): boolean =>
  rule.comments.some((comment) => networks.some((name) => comment.includes(`name: "${name}"`)));

/**
 * What of these tables belongs to an owner.
 * @param networks names of its CNI configurations, for the chains that stock plugins make a pod
 */
export function partsOf(
  tables: readonly FirewallTable[],
  owner: Owner,
  networks: readonly string[],
): FirewallPart[] {
  return tables.flatMap(({ backend, table, chains, rules }) => {
    const own = new Set([...chains.keys()].filter((chain) => owner.isChain(chain)));
    for (const chain of pluginChains(rules, networks)) if (chains.has(chain)) own.add(chain);
    const isHook = (rule: SavedRule): boolean =>
      (rule.target !== undefined && own.has(rule.target)) || owner.isRule(rule) || isNamed(rule, networks);
    for (const chain of emptiedHostPorts({ backend, table, chains, rules }, isHook, networks)) own.add(chain);
    const hooks = rules.filter((rule) => !own.has(rule.chain) && isHook(rule));
    if (own.size === 0 && hooks.length === 0) return [];
    return [{ backend, table, chains: [...own], hooks, rules: rules.filter((rule) => own.has(rule.chain)) }];
  });
}

function pluginChains(rules: readonly SavedRule[], networks: readonly string[]): Set<string> {
  const named = rules.filter((rule) => isNamed(rule, networks));
  const isPodChain = (name: string | undefined): name is string =>
    /^CNI-(DN-)?[0-9a-f]{4,}$/.test(name ?? "");
  return new Set(named.flatMap(({ chain, target }) => [chain, target].filter(isPodChain)));
}

/** portmap's own chains, when no host port of another network is left in them. */
function emptiedHostPorts(
  { chains, rules }: FirewallTable,
  isHook: (rule: SavedRule) => boolean,
  networks: readonly string[],
): string[] {
  const shared = [...chains.keys()].filter((chain) => chain.startsWith("CNI-HOSTPORT-"));
  const others = rules.some(
    (rule) => rule.chain === "CNI-HOSTPORT-DNAT" && !isHook(rule) && !isNamed(rule, networks),
  );
  return networks.length === 0 || others ? [] : shared;
}

/** Longest input of one `iptables-restore`: with --noflush the nft backend takes quadratic time. */
const chainsAtOnce = 2_000;

/** The inputs of `iptables-restore --noflush` that remove a part: jumps to its chains first, then the chains. */
export function removalInputs({ table, chains, hooks }: FirewallPart): string[] {
  const inputs: string[] = [];
  const push = (lines: string[]) => inputs.push(`*${table}\n${lines.join("\n")}\nCOMMIT\n`);
  if (hooks.length > 0) push(hooks.map(({ chain, text }) => `-D ${chain} ${text}`));
  for (let at = 0; at < chains.length; at += chainsAtOnce)
    push(chains.slice(at, at + chainsAtOnce).map((chain) => `-F ${chain}`));
  for (let at = 0; at < chains.length; at += chainsAtOnce)
    push(chains.slice(at, at + chainsAtOnce).map((chain) => `-X ${chain}`));
  return inputs;
}

/** The legacy tools take a lock, which kube-proxy and others hold for moments. */
export function restoreArgs({ kind }: Backend): string[] {
  return kind === "legacy" ? ["--noflush", "--wait"] : ["--noflush"];
}

/** Removes an owner's chains and rules, and tables of the nft backend that nothing is left in. */
export async function removeFirewallPart(host: Host, part: FirewallPart): Promise<void> {
  const { backend } = part;
  for (const input of removalInputs(part))
    await host.run(`${backend.command}-restore`, restoreArgs(backend), { input });
  if (backend.kind === "nft") await removeEmptyNftTable(host, backend, part.table);
}

async function removeEmptyNftTable(host: Host, backend: Backend, table: string): Promise<void> {
  if (!host.has("nft")) return;
  const family = backend.family === "ipv4" ? "ip" : "ip6";
  const list = async () =>
    (await host.run("nft", ["list", "table", family, table], { allowFailure: true })).stdout;
  // The kernel refuses when somebody put a rule into it since.
  for (const chain of emptyBaseChains(await list()))
    await host.run("nft", ["delete", "chain", family, table, chain], { allowFailure: true });
  if (/^table \S+ \S+ \{\s*\}\s*$/.test(await list()))
    await host.run("nft", ["delete", "table", family, table], { allowFailure: true });
}

/** Hooked chains of `nft list table` that let everything pass and hold no rule. */
export function emptyBaseChains(listing: string): string[] {
  return [...listing.matchAll(/^\tchain (\S+) \{\n((?:\t\t.*\n)*)\t\}$/gm)].flatMap(
    ([, name = "", body = ""]) => (/^\t\ttype \S+ hook .* policy accept;\n$/.test(body) ? [name] : []),
  );
}
