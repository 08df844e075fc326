// SPDX-License-Identifier: Apache-2.0
import { Command } from "commander";
import { UsageError } from "../../lib/errors.ts";
import type { CliEnv } from "./env.ts";
import { checkOutput, collect } from "./options.ts";

interface AddFlags {
  name: string;
  count: number;
  group?: string;
  taint: string[];
  output?: string;
}

function count(text: string): number {
  if (!/^[1-9]\d?$/.test(text))
    throw new UsageError(`--count "${text}" is not a number of nodes`, "Use a whole number such as 2.");
  return Number(text);
}

/** `shunt cluster add-nodes`: more workers for a cluster that runs. */
export function addNodesCommand(env: CliEnv): Command {
  return new Command("add-nodes")
    .description("add worker nodes to a test cluster that runs")
    .option("--name <name>", "name of the cluster", "shunt")
    .option("--count <count>", "how many", count, 1)
    .option("--group <name>", "make it this many nodes of the group in all, those that are there included")
    .option("--taint <key=value:effect>", "a taint that they register with; repeatable", collect, [])
    .option("-o, --output <format>", "json")
    .addHelpText(
      "after",
      `
New nodes have names and addresses that no node of the cluster had before. With --group the command is safe to repeat.

Examples:
  shunt cluster add-nodes --name dev --count 2
  shunt cluster add-nodes --name dev --count 3 --group green --taint node.shunt.dev/agent-not-ready:NoSchedule`,
    )
    .action(async (flags: AddFlags) => {
      checkOutput(flags.output, ["json"]);
      const { ensureSetup } = await import("./setup.ts");
      await ensureSetup(env, "shunt cluster add-nodes");
      const { addSandboxNodes } = await import("../../test/clusters/index.ts");
      const nodes = await addSandboxNodes({
        ...{ name: flags.name, count: flags.count, taints: flags.taint, env: env.env, signal: env.signal },
        ...(flags.group === undefined ? {} : { group: flags.group }),
        report: (progress) => void (flags.output === "json" || env.stdout.write(`${progress}\n`)),
      });
      if (flags.output === "json") env.stdout.write(`${JSON.stringify({ nodes })}\n`);
      else env.stdout.write(`Cluster ${flags.name} has ${nodes.join(", ")}.\n`);
    });
}

/** `shunt cluster remove-node`: a worker less. */
export function removeNodeCommand(env: CliEnv): Command {
  return new Command("remove-node")
    .description("take a worker node of a test cluster away, with all of it")
    .option("--name <name>", "name of the cluster", "shunt")
    .requiredOption("--node <node>", "name of the node")
    .addHelpText(
      "after",
      `
Its processes end at once, as when a machine is switched off, and its Node object goes: drain it first.
Removing what is not there is no error.

Example:
  kubectl drain dev-worker2 --ignore-daemonsets && shunt cluster remove-node --name dev --node dev-worker2`,
    )
    .action(async (flags: { name: string; node: string }) => {
      const { removeSandboxNode } = await import("../../test/clusters/index.ts");
      const found = await removeSandboxNode(flags.name, flags.node, env.signal);
      env.stdout.write(
        found
          ? `Removed node ${flags.node}.\n`
          : `No node ${flags.node} in cluster ${flags.name}: nothing to do.\n`,
      );
    });
}
