// SPDX-License-Identifier: Apache-2.0

/** Chains of one table and where they are called from; rules as `iptables-save` prints them, without `-A CHAIN`. */
export interface FirewallTable {
  table: "filter" | "mangle" | "nat" | "raw";
  chains: Record<string, string[]>;
  /** Rules in chains of the kernel or of others. */
  hooks: { chain: string; rule: string; first?: boolean }[];
  /** Chains with one of these prefixes that are not wanted any more are removed. */
  ownPrefixes?: string[];
}

/** What `iptables-restore --noflush` must be given to get from what `iptables-save` showed to what is wanted. */
export function firewallChanges(wanted: FirewallTable, saved: string): string {
  const lines = saved.split("\n");
  const present = new Set(lines.flatMap((line) => /^:(\S+)/.exec(line)?.[1] ?? []));
  const rulesOf = (chain: string) =>
    lines.filter((line) => line.startsWith(`-A ${chain} `)).map((line) => line.slice(`-A ${chain} `.length));
  const broken = Object.entries(wanted.chains).filter(
    ([chain, rules]) => !present.has(chain) || rulesOf(chain).join("\n") !== rules.join("\n"),
  );
  const isOwn = (chain: string) => (wanted.ownPrefixes ?? []).some((prefix) => chain.startsWith(prefix));
  const stale = [...present].filter((chain) => isOwn(chain) && !(chain in wanted.chains));
  const unhooked = wanted.hooks.filter(({ chain, rule }) => !rulesOf(chain).includes(rule));
  const body = [
    ...[...broken.map(([chain]) => chain), ...stale].map((chain) => `:${chain} - [0:0]`),
    ...broken.flatMap(([chain, rules]) => rules.map((rule) => `-A ${chain} ${rule}`)),
    ...unhooked.map(({ chain, rule, first }) =>
      first === true ? `-I ${chain} 1 ${rule}` : `-A ${chain} ${rule}`,
    ),
    ...stale.map((chain) => `-X ${chain}`),
  ];
  return body.length === 0 ? "" : `*${wanted.table}\n${body.join("\n")}\nCOMMIT\n`;
}
