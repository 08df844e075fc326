// SPDX-License-Identifier: Apache-2.0
import type { KubeClient } from "../../lib/kube.ts";
import type { NodeTask } from "../../migrate/model/tools.ts";

/** Nodes that are looked into; of a large cluster they stand for all. */
const mostNodes = 20;
const atOnce = 5;

interface Facts {
  iptables?: Record<string, { chains: number; rules: number }>;
  nftTables?: string[];
  devices?: unknown[];
  conntrackEntries?: number;
}

/** What the nodes carry, by name: the most that any of them has. A node that cannot be looked into is left out. */
export async function nodeFigures(
  kube: KubeClient,
  nodeTask: NodeTask,
  signal: AbortSignal,
): Promise<Record<string, number>> {
  const { items } = await kube.list("/api/v1/nodes", { limit: 500 });
  const names = items.slice(0, mostNodes).map(({ metadata }) => metadata.name ?? "");
  const figures: Record<string, number> = {};
  const most = (name: string, value: number): void => {
    figures[name] = Math.max(figures[name] ?? 0, value);
  };
  const work = async (): Promise<void> => {
    for (let name = names.shift(); name !== undefined; name = names.shift()) {
      const facts = (await nodeTask.run("facts", name, {}, { signal }).catch(() => ({}))) as Facts;
      const tables = Object.values(facts.iptables ?? {});
      if (facts.iptables !== undefined) {
        most("iptables rules on a node", sum(tables.map(({ rules }) => rules)));
        most("iptables chains on a node", sum(tables.map(({ chains }) => chains)));
      }
      if (facts.nftTables !== undefined) most("nftables tables on a node", facts.nftTables.length);
      if (facts.devices !== undefined) most("network devices on a node", facts.devices.length);
      if (facts.conntrackEntries !== undefined) most("conntrack entries on a node", facts.conntrackEntries);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  signal.throwIfAborted();
  return figures;
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);
