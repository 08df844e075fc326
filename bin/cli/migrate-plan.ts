// SPDX-License-Identifier: Apache-2.0
import { Command, Option } from "commander";
import { ShuntError, UsageError } from "../../lib/errors.ts";
import type { KubeTarget } from "../../lib/kube-connect.ts";
import type { Inventory } from "../../migrate/model/inventory.ts";
import type { AgentSetting, Plan, PlanOptions, Strategy } from "../../migrate/model/plan.ts";
import type { CliEnv } from "./env.ts";
import { type ReadingFlags, readForMigration, withNodeFacts, withSet } from "./migrate-reading.ts";
import { checkOutput, collect, parseDuration, withKubeOptions } from "./options.ts";

/** Flags by which a plan is made; `run` takes them too when it is given no plan. */
export interface PlanFlags extends KubeTarget, ReadingFlags {
  strategy: Strategy;
  maxUnavailable: number;
  canary: number;
  keepOldNetwork?: boolean;
  connectionDeadline: number;
  drainTimeout: number;
  policyAudit: number;
  force?: boolean;
  deleteEmptydirData?: boolean;
  provider: string;
  providerSet?: string[];
  accept: string[];
}

function count(text: string): number {
  if (!/^[1-9]\d{0,4}$/.test(text))
    throw new UsageError(`"${text}" is not a number of nodes`, "Use 1 or more.");
  return Number(text);
}

/** Adds the flags that shape a plan. */
export function withPlanOptions(command: Command): Command {
  const strategies = ["node-by-node", "blue-green", "new-cluster", "kube-proxy-only"];
  return withNodeFacts(withSet(withKubeOptions(command)))
    .addOption(new Option("--strategy <name>", "how to migrate").choices(strategies).default("node-by-node"))
    .option("--max-unavailable <n>", "nodes switched at the same time", count, 1)
    .option("--canary <n>", "nodes in the first wave", count, 1)
    .option("--keep-old-network", "leave the old network's pods and files in place at the end")
    .option(
      "--connection-deadline <duration>",
      "how long kube-proxy's connections may go on",
      parseDuration,
      300_000,
    )
    .option("--drain-timeout <duration>", "how long one node's drain may take", parseDuration, 600_000)
    .option(
      "--policy-audit <duration>",
      "how long audit must see nothing that policies deny before they are enforced, where the old network enforces none",
      parseDuration,
      60_000,
    )
    .option("--force", "drains may delete pods that no controller makes anew")
    .option("--delete-emptydir-data", "drains may delete emptyDir data")
    .addOption(
      new Option("--provider <name>", "who makes and removes nodes, for blue-green")
        .choices(["manual", "cluster-api", "karpenter", "eks", "gke", "aks", "sandbox"])
        .default("manual"),
    )
    .option("--provider-set <key=value>", "what the provider has to know; repeatable", collect, [])
    .option("--accept <finding>", "take a finding of preflight upon yourself; repeatable", collect, []);
}

const optionsOf = (flags: PlanFlags): Partial<PlanOptions> => ({
  strategy: flags.strategy,
  maxUnavailable: flags.maxUnavailable,
  canary: flags.canary,
  removeOldNetwork: flags.keepOldNetwork !== true,
  connectionDeadlineSeconds: flags.connectionDeadline / 1000,
  drainTimeoutSeconds: flags.drainTimeout / 1000,
  policyAuditSeconds: flags.policyAudit / 1000,
  drainForce: flags.force === true,
  drainDeleteEmptyDirData: flags.deleteEmptydirData === true,
  provider: flags.provider,
  ...(flags.providerSet === undefined || flags.providerSet.length === 0
    ? {}
    : { providerOptions: flags.providerSet }),
  agentValues: flags.set,
});

/** Reads the cluster, judges it and makes a plan. Throws, with exit code 3, when something blocks. */
export const planFor = async (env: CliEnv, flags: PlanFlags): Promise<Plan> =>
  (await planWithInventory(env, flags)).plan;

async function planWithInventory(
  env: CliEnv,
  flags: PlanFlags,
): Promise<{ plan: Plan; inventory: Inventory; settings: AgentSetting[] }> {
  const { connectKube } = await import("../../lib/kube-connect.ts");
  const { formatFindings, preflight } = await import("../../migrate/preflight/index.ts");
  const { makePlan } = await import("../../migrate/plan/index.ts");
  const kube = await connectKube(flags);
  try {
    const { inventory, settings, agent } = await readForMigration(env, kube, flags, flags.strategy);
    const { routing, tunnelPort, mtu, modes } = agent;
    const findings = preflight(inventory, {
      ...{ routing, tunnelPort, mtu, policy: modes.policy },
      strategy: flags.strategy,
      accept: flags.accept,
      drainForce: flags.force === true,
      drainDeleteEmptyDirData: flags.deleteEmptydirData === true,
    });
    const blockers = findings.filter(({ severity }) => severity === "block");
    if (blockers.length > 0) {
      env.stderr.write(formatFindings(blockers, 110));
      throw new ShuntError(`${blockers.length} findings block the migration; nothing was changed`, {
        code: "Blocked",
        exitCode: 3,
        remedy:
          "Mend them, or take one upon yourself with --accept FINDING. All findings: shunt migrate preflight",
      });
    }
    return {
      inventory,
      settings,
      plan: makePlan(inventory, optionsOf(flags), findings, new Date(), settings),
    };
  } finally {
    kube.close();
  }
}

/** `shunt migrate plan`: what would be done. */
export function planCommand(env: CliEnv): Command {
  return withPlanOptions(new Command("plan"))
    .description("write down every wave and step, what each changes, how long it takes; changes nothing")
    .option("--out <file>", "write the plan to a file for review, and for run --plan")
    .option("--simulate", "tell how long it would take with different numbers of nodes at once, instead")
    .option("-o, --output <format>", "json or yaml")
    .addHelpText(
      "after",
      "\nExamples:\n  shunt migrate plan\n  shunt migrate plan --out plan.yaml\n  shunt migrate plan --max-unavailable 5 --strategy node-by-node -o json\n  shunt migrate plan --strategy kube-proxy-only --out plan.yaml\n  shunt migrate plan --simulate --max-unavailable 25",
    )
    .action(async (flags: PlanFlags & { out?: string; output?: string; simulate?: boolean }) => {
      checkOutput(flags.output, ["json", "yaml"]);
      const { plan, inventory, settings } = await planWithInventory(env, flags);
      if (flags.simulate === true) return await simulate(env, flags, { inventory, settings });
      const { formatPlan, formatPlanFile } = await import("../../migrate/plan/index.ts");
      if (flags.out !== undefined)
        await (await import("node:fs/promises")).writeFile(flags.out, formatPlanFile(plan));
      if (flags.output === "json") env.stdout.write(`${JSON.stringify(plan, null, 2)}\n`);
      else if (flags.output === "yaml") env.stdout.write(formatPlanFile(plan));
      else {
        env.stdout.write(formatPlan(plan));
        const next = flags.out ?? "FILE (from --out)";
        env.stdout.write(`\nNothing was changed. Run it with: shunt migrate run --plan ${next}\n`);
      }
    });
}

/** How long the migration would take, by the number of nodes at once. */
async function simulate(
  env: CliEnv,
  flags: PlanFlags & { output?: string },
  { inventory, settings }: { inventory: Inventory; settings: AgentSetting[] },
): Promise<void> {
  const { formatSimulations, simulateConcurrencies } = await import("../../migrate/plan/index.ts");
  const simulations = simulateConcurrencies(inventory, optionsOf(flags), settings);
  if (flags.output === "json") env.stdout.write(`${JSON.stringify(simulations, null, 2)}\n`);
  else if (flags.output === "yaml") env.stdout.write((await import("yaml")).stringify(simulations));
  else env.stdout.write(formatSimulations(simulations, flags.maxUnavailable));
}
