// SPDX-License-Identifier: Apache-2.0
import { Command, Option } from "commander";
import { UsageError } from "../../lib/errors.ts";
import type { CniKind, KubeProxyMode } from "../../test/clusters/sandbox/plan.ts";
import { addNodesCommand, removeNodeCommand } from "./cluster-nodes.ts";
import type { CliEnv } from "./env.ts";
import { checkOutput } from "./options.ts";

interface CreateFlags {
  name: string;
  workers: number;
  ipFamily: "ipv4" | "ipv6" | "dual";
  cni: CniKind;
  kubeProxy?: KubeProxyMode;
  kubeconfig?: string;
  retain?: boolean;
  output?: string;
}

/** `shunt cluster`: throw-away clusters to try and to test on. */
export function clusterCommand(env: CliEnv): Command {
  const command = new Command("cluster").description(
    "create, change, list and delete test clusters on this machine",
  );
  const children = [createCommand, addNodesCommand, removeNodeCommand, listCommand, deleteCommand];
  for (const child of children) command.addCommand(child(env));
  return command;
}

function withDriver(command: Command): Command {
  return command.addOption(
    new Option("--driver <driver>", "what nodes are made of").choices(["sandbox"]).default("sandbox"),
  );
}

function wholeNumber(text: string): number {
  if (!/^\d{1,3}$/.test(text))
    throw new UsageError(`--workers "${text}" is not a number of nodes`, "Use a whole number such as 2.");
  return Number(text);
}

function createCommand(env: CliEnv): Command {
  return withDriver(new Command("create"))
    .description("create a cluster of several nodes on this machine (Linux, root; no Docker, no registry)")
    .option("--name <name>", "name of the cluster; its context is sandbox-NAME", "shunt")
    .option("--workers <count>", "worker nodes beside the control plane", wholeNumber, 2)
    .addOption(
      new Option("--ip-family <family>", "addresses of nodes, pods and Services")
        .choices(["ipv4", "ipv6", "dual"])
        .default("ipv4"),
    )
    .addOption(
      new Option("--cni <kind>", "pod network to start with, made like one that people migrate from")
        .choices(["flannel", "calico", "kindnet", "bridge", "none"])
        .default("none"),
    )
    .addOption(
      new Option("--kube-proxy <mode>", "what implements Services from the start").choices([
        "iptables",
        "nftables",
        "none",
      ]),
    )
    .option("--kubeconfig <file>", "file to write the context to (default: as kubectl)")
    .option("--retain", "keep what a failed creation made, to look into it")
    .option("-o, --output <format>", "json: one event a line")
    .addHelpText(
      "after",
      `
Without --cni the nodes stay NotReady until a pod network is installed. Kubernetes' real binaries are used where the
folder named by KUBEBUILDER_ASSETS has them.

Examples:
  shunt cluster create --name dev --workers 2
  shunt cluster create --name six --ip-family dual --kubeconfig ./dev.kubeconfig`,
    )
    .action(async (flags: CreateFlags) => {
      checkOutput(flags.output, ["json"]);
      const { ensureSetup } = await import("./setup.ts");
      await ensureSetup(env, "shunt cluster create");
      const { progressStyle } = await import("../../lib/steps.ts");
      const { contextName, createSandboxCluster } = await import("../../test/clusters/index.ts");
      const { name, workers, ipFamily, cni, kubeProxy, kubeconfig, retain } = flags;
      await createSandboxCluster(
        {
          ...{ name, workers, ipFamily, cni, env: env.env },
          ...(kubeProxy === undefined ? {} : { kubeProxy }),
          ...(kubeconfig === undefined ? {} : { kubeconfig }),
        },
        {
          out: env.stdout,
          style: progressStyle(env.stdout, env.env, flags.output),
          signal: env.signal,
          retain: retain === true,
        },
      );
      if (flags.output === "json") return;
      const next =
        cni === "none"
          ? `, without a pod network. Install one with: shunt install --context ${contextName(name)}`
          : ` on a ${cni}-like pod network. Its context is ${contextName(name)}.`;
      env.stdout.write(`\nCluster ${name} is up${next}\n`);
    });
}

function listCommand(env: CliEnv): Command {
  return withDriver(new Command("list"))
    .description("list this machine's test clusters")
    .option("-o, --output <format>", "json")
    .addHelpText("after", "\nExample:\n  shunt cluster list -o json")
    .action(async (flags: { output?: string }) => {
      checkOutput(flags.output, ["json"]);
      const { listSandboxClusters } = await import("../../test/clusters/sandbox/list.ts");
      const clusters = listSandboxClusters();
      if (flags.output === "json") return void env.stdout.write(`${JSON.stringify(clusters, null, 2)}\n`);
      if (clusters.length === 0) return void env.stdout.write("No test clusters.\n");
      const rows = clusters.map(({ name, driver, status, nodes, server }) => [
        ...[
          name,
          driver,
          status,
          `${nodes.filter(({ running }) => running).length}/${nodes.length}`,
          server ?? "",
        ],
      ]);
      const table = [["NAME", "DRIVER", "STATUS", "NODES", "SERVER"], ...rows];
      const widths = table[0]!.map((_, column) => Math.max(...table.map((row) => row[column]!.length)));
      for (const row of table)
        env.stdout.write(
          `${row
            .map((cell, column) => cell.padEnd(widths[column]! + 2))
            .join("")
            .trimEnd()}\n`,
        );
    });
}

function deleteCommand(env: CliEnv): Command {
  return withDriver(new Command("delete"))
    .description("delete a test cluster, whole or half-made, and everything of it")
    .option("--name <name>", "name of the cluster", "shunt")
    .addHelpText(
      "after",
      "\nDeleting what is not there is no error.\n\nExample:\n  shunt cluster delete --name dev",
    )
    .action(async (flags: { name: string }) => {
      const { deleteSandboxCluster } = await import("../../test/clusters/sandbox/delete.ts");
      const found = await deleteSandboxCluster(flags.name, env.env);
      env.stdout.write(
        found ? `Deleted cluster ${flags.name}.\n` : `No cluster ${flags.name}: nothing to do.\n`,
      );
    });
}
