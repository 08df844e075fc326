// SPDX-License-Identifier: Apache-2.0
import type { Command } from "commander";
import type { Values } from "../../installer/index.ts";
import { errorMessage } from "../../lib/errors.ts";
import type { KubeClient } from "../../lib/kube.ts";
import type { Inventory, NodeFacts } from "../../migrate/model/inventory.ts";
import type { AgentSetting, Strategy } from "../../migrate/model/plan.ts";
import type { CliEnv } from "./env.ts";
import { collect } from "./options.ts";

/** Flags that decide what is known of a cluster before it is judged. */
export interface ReadingFlags {
  set: string[];
  nodeFacts?: boolean;
}

/** Adds the flag that lets node tasks look. */
export const withNodeFacts = (command: Command): Command =>
  command.option(
    "--node-facts",
    "look inside every node too (MTUs, rp_filter, kernel features), by a short-lived pod on each",
  );

/** Adds the flag for values of the agent's installation. */
export const withSet = (command: Command): Command =>
  command.option("--set <key=value>", "a value of the agent's installation; repeatable", collect, []);

/** What was read, and the values that the agent will have here. */
export interface Reading {
  inventory: Inventory;
  /** Values that were chosen for this cluster, beside the given ones. */
  settings: AgentSetting[];
  agent: Pick<Values, "routing" | "tunnelPort" | "mtu" | "modes">;
}

/** Reads the cluster with the ports that the agent will use, and chooses the values that it asks for. */
export async function readForMigration(
  env: CliEnv,
  kube: KubeClient,
  flags: ReadingFlags,
  strategy: Strategy,
): Promise<Reading> {
  const { readInventory } = await import("../../migrate/inventory/index.ts");
  const { chooseAgentValues } = await import("../../migrate/plan/index.ts");
  const { defaultValues, loadValues, parseSet, readRecord } = await import("../../installer/index.ts");
  const installed = (await readRecord(kube))?.values;
  const values = await loadValues([], flags.set, installed ?? defaultValues);
  const { tunnelPort, healthPort, metricsPort } = values;
  const facts = flags.nodeFacts === true ? await readNodeFacts(env, kube, flags.set) : undefined;
  const inventory = await readInventory(kube, {
    signal: env.signal,
    ports: { tunnelPort, healthPort, metricsPort },
    ...(facts === undefined ? {} : { facts }),
  });
  const given = new Set(flags.set.flatMap((text) => Object.keys(parseSet(text))));
  if (flags.set.some((text) => "policy" in ((parseSet(text) as Partial<Values>).modes ?? {})))
    given.add("modes.policy");
  for (const key of ["routing", "mtu", "tunnelPort"] as const)
    if (installed !== undefined && installed[key] !== defaultValues[key]) given.add(key);
  const settings = chooseAgentValues(inventory, { strategy, defaults: values, given });
  const agent = await loadValues(
    [],
    settings.map(({ value }) => value),
    values,
  );
  return { inventory, settings, agent };
}

const atOnce = 16;

/** What each node's task found. A node that cannot be looked into is told, and judged without. */
export async function readNodeFacts(
  env: CliEnv,
  kube: KubeClient,
  agentValues: readonly string[],
): Promise<Map<string, NodeFacts>> {
  const { defaultValues, loadValues, readRecord } = await import("../../installer/index.ts");
  const { image } = await loadValues([], agentValues, (await readRecord(kube))?.values ?? defaultValues);
  const { createNodeTask } = await import("../../migrate/node-task/index.ts");
  const { resourcePath } = await import("../../lib/kube.ts");
  const tasks = createNodeTask(kube, { timeoutMs: 120_000, image });
  const nodes = await kube.list(resourcePath("v1", "nodes"));
  const names = nodes.items.flatMap(({ metadata, status }) =>
    status?.nodeInfo?.operatingSystem === "windows" ? [] : [metadata.name ?? ""],
  );
  const facts = new Map<string, NodeFacts>();
  const work = async (): Promise<void> => {
    for (let name = names.shift(); name !== undefined; name = names.shift())
      try {
        const found = await tasks.run("facts", name, {}, { signal: env.signal });
        facts.set(name, found as unknown as NodeFacts);
      } catch (error) {
        env.signal.throwIfAborted();
        env.stderr.write(`Node ${name} was not looked into: ${errorMessage(error)}\n`);
      }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  return facts;
}
