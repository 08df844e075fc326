// SPDX-License-Identifier: Apache-2.0
import { run } from "../../../../lib/run.ts";
import type { Runner } from "./iptables.ts";
import type { NftTable } from "./nft-rules.ts";

/** Names of what the table holds, as of the last write; undefined before the first. */
export interface NftNames {
  chains: Set<string>;
  sets: Map<string, "set" | "map">;
}

/** Writes the table as one transaction and returns what it now holds. The first write starts it anew. */
export async function applyNft(
  table: NftTable,
  before: NftNames | undefined,
  runner: Runner = run,
): Promise<NftNames> {
  await runner("nft", ["-f", "-"], { input: nftInput(table, before) });
  return {
    chains: new Set(table.chains.keys()),
    sets: new Map([...table.sets].map(([name, { kind }]) => [name, kind])),
  };
}

/** What nft has to read. Sets that packets fill keep their elements; everything else is replaced. */
export function nftInput(table: NftTable, before: NftNames | undefined): string {
  const at = `${table.family} kube-proxy`;
  const add = `add table ${at} { comment "rules for kube-proxy"; }`;
  const lines = before === undefined ? [add, `delete table ${at}`, add] : [add];
  const old = before ?? { chains: new Set<string>(), sets: new Map() };
  for (const chain of old.chains) lines.push(`flush chain ${at} ${chain}`);
  for (const [name, kind] of old.sets)
    if (table.sets.get(name)?.isDynamic !== true) lines.push(`flush ${kind} ${at} ${name}`);
  for (const [name, { body }] of table.chains)
    if (!old.chains.has(name)) lines.push(`add chain ${at} ${name}${body === "" ? "" : ` { ${body} }`}`);
  for (const [name, { kind, body }] of table.sets)
    if (old.sets.get(name) === undefined) lines.push(`add ${kind} ${at} ${name} { ${body} }`);
  for (const [name, { elements }] of table.sets)
    if (elements.length > 0) lines.push(`add element ${at} ${name} { ${elements.join(", ")} }`);
  for (const [name, { rules }] of table.chains)
    for (const rule of rules) lines.push(`add rule ${at} ${name} ${rule}`);
  for (const chain of old.chains) if (!table.chains.has(chain)) lines.push(`delete chain ${at} ${chain}`);
  for (const [name, kind] of old.sets) if (!table.sets.has(name)) lines.push(`delete ${kind} ${at} ${name}`);
  return `${lines.join("\n")}\n`;
}
