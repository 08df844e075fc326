// SPDX-License-Identifier: Apache-2.0
import type { Family } from "../../../../lib/addresses.ts";
import { type RunOptions, type RunResult, run } from "../../../../lib/run.ts";
import type { IptablesRules } from "./iptables-rules.ts";

const comment = (text: string) => `-m comment --comment "${text}"`;
const portals = comment("kubernetes service portals");
const outside = comment("kubernetes externally-visible service portals");
const firewall = comment("kubernetes load balancer firewall");
const isNew = "-m conntrack --ctstate NEW";

/** Runs a program; a test runs it in a network namespace of its own. */
export type Runner = (file: string, args: readonly string[], options?: RunOptions) => Promise<RunResult>;

type Table = "mangle" | "filter" | "nat";

/** Jumps from the built-in chains, in the order in which they stand. */
const jumps: [Table, string, string][] = [
  ["filter", "INPUT", "-j KUBE-FIREWALL"],
  ["filter", "INPUT", `${isNew} ${firewall} -j KUBE-PROXY-FIREWALL`],
  ["filter", "INPUT", `${comment("kubernetes health check service ports")} -j KUBE-NODEPORTS`],
  ["filter", "INPUT", `${isNew} ${outside} -j KUBE-EXTERNAL-SERVICES`],
  ["filter", "FORWARD", `${isNew} ${firewall} -j KUBE-PROXY-FIREWALL`],
  ["filter", "FORWARD", `${comment("kubernetes forwarding rules")} -j KUBE-FORWARD`],
  ["filter", "FORWARD", `${isNew} ${portals} -j KUBE-SERVICES`],
  ["filter", "FORWARD", `${isNew} ${outside} -j KUBE-EXTERNAL-SERVICES`],
  ["filter", "OUTPUT", "-j KUBE-FIREWALL"],
  ["filter", "OUTPUT", `${isNew} ${firewall} -j KUBE-PROXY-FIREWALL`],
  ["filter", "OUTPUT", `${isNew} ${portals} -j KUBE-SERVICES`],
  ["nat", "PREROUTING", `${portals} -j KUBE-SERVICES`],
  ["nat", "OUTPUT", `${portals} -j KUBE-SERVICES`],
  ["nat", "POSTROUTING", `${comment("kubernetes postrouting rules")} -j KUBE-POSTROUTING`],
];

/** Chains by whose absence kube-proxy and the kubelet see that somebody flushed the tables. */
const canaries = ["KUBE-PROXY-CANARY", "KUBE-KUBELET-CANARY"];
const dynamicChain = /^KUBE-(SVC|SVL|SEP|EXT|FW|XLB)-/;

/**
 * Writes rules by one atomic commit a table, next to whatever else the tables hold. Chains of Services that are
 * gone go with it.
 */
export async function applyIptables(
  family: Family,
  rules: IptablesRules,
  runner: Runner = run,
): Promise<void> {
  const prefix = family === "ipv4" ? "iptables" : "ip6tables";
  const { stdout: saved } = await runner(`${prefix}-save`, []);
  const input = restoreInput(rules, saved);
  await runner(`${prefix}-restore`, ["-w", "5", "--noflush"], { input });
}

/** What iptables-restore has to read, given what iptables-save printed. */
export function restoreInput(rules: IptablesRules, saved: string): string {
  const present = parseSaved(saved);
  const table = (name: Table): string[] => {
    const before = present[name] ?? { chains: new Set<string>(), jumps: new Set<string>() };
    const own = name === "mangle" ? { chains: [], rules: [] } : rules[name];
    const wanted = new Set(own.chains);
    const stale = [...before.chains].filter((chain) => dynamicChain.test(chain) && !wanted.has(chain));
    const missing = jumps.filter(
      ([where, chain, rule]) => where === name && !before.jumps.has(`${chain} ${target(rule)}`),
    );
    return [
      `*${name}`,
      ...[...own.chains, ...stale, ...canaries.filter((chain) => !before.chains.has(chain))].map(
        (chain) => `:${chain} - [0:0]`,
      ),
      ...missing.reverse().map(([, chain, rule]) => `-I ${chain} 1 ${rule}`),
      ...own.rules,
      ...stale.map((chain) => `-X ${chain}`),
      "COMMIT",
    ];
  };
  return `${[...table("mangle"), ...table("filter"), ...table("nat")].join("\n")}\n`;
}

function target(rule: string): string {
  return rule.split(" ").at(-1)!;
}

/** Chains and the jumps into ours, by table, of what iptables-save printed. */
function parseSaved(text: string): Partial<Record<string, { chains: Set<string>; jumps: Set<string> }>> {
  const tables: ReturnType<typeof parseSaved> = {};
  let current = { chains: new Set<string>(), jumps: new Set<string>() };
  for (const line of text.split("\n")) {
    if (line.startsWith("*")) {
      current = { chains: new Set(), jumps: new Set() };
      tables[line.slice(1).trim()] = current;
    } else if (line.startsWith(":")) current.chains.add(line.slice(1).split(" ")[0]!);
    else if (line.startsWith("-A ") && !line.startsWith("-A KUBE-"))
      current.jumps.add(`${line.split(" ")[1]} ${target(line)}`);
  }
  return tables;
}
