// SPDX-License-Identifier: Apache-2.0

/** One rule as `iptables-save` prints it. */
export interface SavedRule {
  chain: string;
  /** Without `-A CHAIN `. */
  text: string;
  /** Chain or target it jumps or goes to. */
  target: string | undefined;
  comments: string[];
  /** Counted from 1 in its chain. */
  position: number;
}

export interface SavedTable {
  table: string;
  /** Policy by chain; `-` for chains that are not the kernel's. */
  chains: Map<string, string>;
  rules: SavedRule[];
}

/** Reads the output of `iptables-save` of either backend. Lines that it does not know are skipped. */
export function parseIptablesSave(text: string): SavedTable[] {
  const tables: SavedTable[] = [];
  let current: SavedTable | undefined;
  let positions = new Map<string, number>();
  for (const raw of text.split("\n")) {
    const line = raw.replace(/^\[\d+:\d+\] /, "");
    if (line.startsWith("*")) {
      current = { table: line.slice(1).trim(), chains: new Map(), rules: [] };
      positions = new Map();
      tables.push(current);
    } else if (line.startsWith(":")) {
      const [chain = "", policy = "-"] = line.slice(1).split(" ");
      current?.chains.set(chain, policy);
    } else if (line.startsWith("-A ") && current !== undefined) {
      const [, chain = "", rule = ""] = /^-A (\S+) ?(.*)$/.exec(line) ?? [];
      const position = (positions.get(chain) ?? 0) + 1;
      positions.set(chain, position);
      current.rules.push({ chain, text: rule, target: targetOf(rule), comments: commentsOf(rule), position });
    } else if (line === "COMMIT") current = undefined;
  }
  return tables;
}

const quoted = String.raw`"((?:[^"\\]|\\.)*)"|(\S+)`;

function commentsOf(rule: string): string[] {
  return [...rule.matchAll(new RegExp(`--comment (?:${quoted})`, "g"))].map(
    ([, inQuotes, bare]) => inQuotes?.replaceAll(/\\(.)/g, "$1") ?? bare ?? "",
  );
}

function targetOf(rule: string): string | undefined {
  // What is quoted may hold anything, a jump too.
  return / -[jg] (\S+)/.exec(` ${rule.replaceAll(/"(?:[^"\\]|\\.)*"/g, '""')}`)?.[1];
}
