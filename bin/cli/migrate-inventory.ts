// SPDX-License-Identifier: Apache-2.0
import { Command, Option } from "commander";
import { ShuntError } from "../../lib/errors.ts";
import type { KubeTarget } from "../../lib/kube-connect.ts";
import type { Finding, Inventory } from "../../migrate/model/inventory.ts";
import type { Strategy } from "../../migrate/model/plan.ts";
import type { CliEnv } from "./env.ts";
import {
  type Reading,
  type ReadingFlags,
  readForMigration,
  withNodeFacts,
  withSet,
} from "./migrate-reading.ts";
import { checkOutput, collect, withKubeOptions } from "./options.ts";

const formats = ["table", "json", "yaml", "html"];
const strategies: Strategy[] = ["node-by-node", "blue-green", "new-cluster", "kube-proxy-only"];

interface InventoryFlags extends KubeTarget, ReadingFlags {
  output?: string;
}

interface PreflightFlags extends InventoryFlags {
  strategy: Strategy;
  accept: string[];
  force?: boolean;
  deleteEmptydirData?: boolean;
}

/** `shunt migrate inventory`: what is there, read only. */
export function inventoryCommand(env: CliEnv): Command {
  return withNodeFacts(withSet(withKubeOptions(new Command("inventory"))))
    .description(
      "show what a migration would start from: network, kube-proxy, nodes, Services; changes nothing",
    )
    .option("-o, --output <format>", formats.join(", "))
    .addHelpText(
      "after",
      "\nExamples:\n  shunt migrate inventory\n  shunt migrate inventory -o json > inventory.json\n  shunt migrate inventory -o html > inventory.html",
    )
    .action(async (flags: InventoryFlags) => {
      checkOutput(flags.output, formats);
      const { inventory } = await read(env, flags, "node-by-node");
      await print(env, flags.output, inventory, undefined);
    });
}

/** `shunt migrate preflight`: what stands in the way. */
export function preflightCommand(env: CliEnv): Command {
  return withNodeFacts(withSet(withKubeOptions(new Command("preflight"))))
    .description("find what stands in the way of a migration, and whether it is worth it; changes nothing")
    .addOption(
      new Option("--strategy <name>", "how it would be migrated").choices(strategies).default("node-by-node"),
    )
    .option(
      "--accept <finding>",
      "take a finding upon yourself: it warns instead of blocking; repeatable",
      collect,
      [],
    )
    .option("--force", "drains may delete pods that no controller makes anew")
    .option("--delete-emptydir-data", "drains may delete emptyDir data")
    .option("-o, --output <format>", formats.join(", "))
    .addHelpText(
      "after",
      "\nExit code: 0 when nothing blocks, 3 when something does.\n\nExamples:\n  shunt migrate preflight\n  shunt migrate preflight --strategy kube-proxy-only -o json\n  shunt migrate preflight --delete-emptydir-data --accept service-sctp",
    )
    .action(async (flags: PreflightFlags) => {
      checkOutput(flags.output, formats);
      const { inventory, agent } = await read(env, flags, flags.strategy);
      const { preflight } = await import("../../migrate/preflight/index.ts");
      const { routing, tunnelPort, mtu, modes } = agent;
      const findings = preflight(inventory, {
        ...{ routing, tunnelPort, mtu, policy: modes.policy },
        strategy: flags.strategy,
        accept: flags.accept,
        drainForce: flags.force === true,
        drainDeleteEmptyDirData: flags.deleteEmptydirData === true,
      });
      await print(env, flags.output, inventory, findings);
      if (isBlocked(findings))
        throw new ShuntError("something blocks the migration", { code: "Reported", exitCode: 3 });
    });
}

async function read(env: CliEnv, flags: InventoryFlags, strategy: Strategy): Promise<Reading> {
  const { connectKube } = await import("../../lib/kube-connect.ts");
  const kube = await connectKube(flags);
  try {
    return await readForMigration(env, kube, flags, strategy);
  } finally {
    kube.close();
  }
}

async function print(
  env: CliEnv,
  output: string | undefined,
  inventory: Inventory,
  findings: Finding[] | undefined,
): Promise<void> {
  const value = findings === undefined ? inventory : { blocked: isBlocked(findings), findings };
  if (output === "json") {
    env.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
    return;
  }
  if (output === "yaml") {
    env.stdout.write((await import("yaml")).stringify(value));
    return;
  }
  const { findingsPage, formatFindings, formatInventory } = await import("../../migrate/preflight/index.ts");
  if (output === "html") env.stdout.write(findingsPage(inventory, findings));
  else if (findings === undefined) env.stdout.write(formatInventory(inventory));
  else env.stdout.write(formatFindings(findings, Math.min(env.stdout.columns ?? 110, 140)));
}

const isBlocked = (findings: readonly Finding[]): boolean =>
  findings.some(({ severity }) => severity === "block");
