// SPDX-License-Identifier: Apache-2.0
import type { Family } from "../../../../lib/addresses.ts";
import { run } from "../../../../lib/run.ts";
import { type FirewallTable, firewallChanges } from "./firewall-changes.ts";

/** Makes the chains and hooks as wanted where they are not; says whether anything had to be done. */
export async function ensureFirewall(family: Family, tables: readonly FirewallTable[]): Promise<boolean> {
  const name = family === "ipv4" ? "iptables" : "ip6tables";
  let changed = false;
  for (const table of tables) {
    const { stdout } = await run(`${name}-save`, ["-t", table.table]);
    const input = firewallChanges(table, stdout);
    if (input === "") continue;
    await run(`${name}-restore`, ["--noflush"], { input });
    changed = true;
  }
  return changed;
}
