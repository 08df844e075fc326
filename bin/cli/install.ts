// SPDX-License-Identifier: Apache-2.0
import { Command } from "commander";
import { ShuntError, UsageError } from "../../lib/errors.ts";
import type { KubeClient } from "../../lib/kube.ts";
import type { KubeTarget } from "../../lib/kube-connect.ts";
import type { CliEnv } from "./env.ts";
import { checkOutput, collect, parseDuration, withKubeOptions } from "./options.ts";

interface InstallFlags extends KubeTarget {
  set: string[];
  values: string[];
  dryRun?: boolean;
  yes?: boolean;
  timeout: number;
  output?: string;
  resetValues?: boolean;
}

function withValueOptions(command: Command): Command {
  return withKubeOptions(command)
    .option("-f, --values <file>", "values file (YAML), repeatable", collect, [])
    .option("--set <key=value>", "one value, over the files; repeatable", collect, [])
    .option("--dry-run", "say what would be done and change nothing; with -o yaml, print the manifests")
    .option("-y, --yes", "do not ask")
    .option("--timeout <duration>", "how long the rollout may take", parseDuration, 300_000)
    .option("-o, --output <format>", "json: one event a line; yaml: manifests, with --dry-run");
}

/** `shunt install`: agent onto a cluster. */
export function installCommand(env: CliEnv): Command {
  return withValueOptions(new Command("install"))
    .description(
      "install the node agent on a cluster; running it again is harmless and finishes what was interrupted",
    )
    .addHelpText(
      "after",
      `
Examples:
  shunt install
  shunt install --set routing=direct --set mtu=9000
  shunt install -f values.yaml --yes -o json
  shunt install --dry-run -o yaml > shunt.yaml`,
    )
    .action((flags: InstallFlags) => install(env, flags, false));
}

/** `shunt upgrade`: this version, with the values of the last installation. */
export function upgradeCommand(env: CliEnv): Command {
  return withValueOptions(new Command("upgrade"))
    .description("bring an installation to this version, keeping its values; traffic goes on")
    .option("--reset-values", "start from the defaults, not from the values in use")
    .addHelpText(
      "after",
      "\nExamples:\n  shunt upgrade\n  shunt upgrade --set image=registry.example/shunt:1.2.3 --yes",
    )
    .action((flags: InstallFlags) => install(env, flags, true));
}

async function install(env: CliEnv, flags: InstallFlags, upgrade: boolean): Promise<void> {
  checkOutput(flags.output, flags.dryRun === true ? ["json", "yaml"] : ["json"]);
  const { connectKube } = await import("../../lib/kube-connect.ts");
  const { progressStyle, runSteps } = await import("../../lib/steps.ts");
  const installer = await import("../../installer/index.ts");
  const kube = await connectKube(flags);
  try {
    const record = await installer.readRecord(kube);
    if (upgrade && record === undefined)
      throw new ShuntError("Shunt is not installed in this cluster", {
        remedy: "Install it with: shunt install",
      });
    const base = flags.resetValues === true ? undefined : record?.values;
    const values = await installer.loadValues(flags.values, flags.set, base);
    const context = { kube, values, findings: [], signal: env.signal, timeoutMs: flags.timeout };
    const steps = installer.installSteps();
    if (flags.dryRun === true) return await dryRun(env, flags, context, steps);
    await confirm(env, flags, `${upgrade ? "Upgrade" : "Install"} Shunt on the cluster at ${kube.server}?`);
    await runSteps(steps, context, {
      style: progressStyle(env.stdout, env.env, flags.output),
      out: env.stdout,
      signal: env.signal,
    });
    if (flags.output !== "json")
      env.stdout.write("\nShunt is installed. Prove it with: shunt connectivity test\n");
  } finally {
    kube.close();
  }
}

async function dryRun(
  env: CliEnv,
  flags: InstallFlags,
  context: any,
  steps: { name: string; title: string }[],
) {
  const installer = await import("../../installer/index.ts");
  const facts = await installer.gatherFacts(context.kube, context.values);
  const manifests = installer.installManifests(context.values, facts);
  if (flags.output === "yaml") {
    const { stringify } = await import("yaml");
    env.stdout.write(manifests.map((object) => stringify(object)).join("---\n"));
    return;
  }
  if (flags.output === "json") {
    const plan = steps.map(({ name, title }) => ({ name, title }));
    env.stdout.write(
      `${JSON.stringify({ steps: plan, values: context.values, facts, manifests }, null, 2)}\n`,
    );
    return;
  }
  const lines = steps.map(({ title }, index) => `  ${index + 1}. ${title}`);
  const objects = manifests.map((object) => `  ${object.kind} ${object.metadata.name}`);
  env.stdout.write(
    `On the cluster at ${context.kube.server} this would:\n${lines.join("\n")}\n\nand apply:\n${objects.join("\n")}\n\nNothing was changed.\n`,
  );
}

/** Asks on a terminal; elsewhere the command itself is the answer. */
async function confirm(
  env: CliEnv,
  flags: { yes?: boolean; output?: string },
  question: string,
): Promise<void> {
  if (flags.yes === true || flags.output === "json" || env.stdin.isTTY !== true || env.stdout.isTTY !== true)
    return;
  const { default: inquirer } = await import("inquirer");
  const { go } = await inquirer.prompt([{ type: "confirm", name: "go", message: question, default: true }]);
  if (go !== true) throw new UsageError("Nothing was changed.");
}

/** `shunt uninstall`: nothing left, kube-proxy as it was. */
export function uninstallCommand(env: CliEnv): Command {
  return withKubeOptions(new Command("uninstall"))
    .description("remove the agent and everything it made, and restore kube-proxy as it was")
    .option("-y, --yes", "do not ask")
    .option("-o, --output <format>", "json: one event a line")
    .addHelpText(
      "after",
      "\nPods that use the agent's network lose it: install another pod network and recreate them.\n\nExample:\n  shunt uninstall --yes",
    )
    .action(async (flags: KubeTarget & { yes?: boolean; output?: string }) => {
      checkOutput(flags.output, ["json"]);
      const { connectKube } = await import("../../lib/kube-connect.ts");
      const { progressStyle, runSteps } = await import("../../lib/steps.ts");
      const { uninstallSteps } = await import("../../installer/index.ts");
      const kube = await connectKube(flags);
      try {
        await kube.get("/version");
        await confirm(env, flags, `Remove Shunt from the cluster at ${kube.server}?`);
        await runSteps(
          uninstallSteps(),
          { kube, signal: env.signal },
          {
            style: progressStyle(env.stdout, env.env, flags.output),
            out: env.stdout,
            signal: env.signal,
          },
        );
      } finally {
        kube.close();
      }
    });
}

/** `shunt status`: what is installed and what each node reports. */
export function statusCommand(env: CliEnv): Command {
  return withKubeOptions(new Command("status"))
    .description("show what is installed and what each node's agent reports")
    .option("--wait", "wait until every node is ready")
    .option("--timeout <duration>", "how long to wait", parseDuration, 300_000)
    .option("-o, --output <format>", "json or yaml")
    .addHelpText(
      "after",
      "\nExit code: 0 when ready, 1 when not.\n\nExamples:\n  shunt status\n  shunt status --wait --timeout 2m\n  shunt status -o json",
    )
    .action(async (flags: KubeTarget & { wait?: boolean; timeout: number; output?: string }) => {
      checkOutput(flags.output, ["json", "yaml"]);
      const { connectKube } = await import("../../lib/kube-connect.ts");
      const { formatStatus, readStatus } = await import("../../installer/index.ts");
      const kube = await connectKube(flags);
      try {
        let status = await readStatus(kube);
        if (flags.wait === true && !status.ready)
          status = await waitUntilReady(kube, flags.timeout, env.signal).catch(async (error) => {
            env.signal.throwIfAborted();
            env.stderr.write(`${error.message}\n`);
            return await readStatus(kube);
          });
        if (flags.output === "json") env.stdout.write(`${JSON.stringify(status, null, 2)}\n`);
        else if (flags.output === "yaml") env.stdout.write((await import("yaml")).stringify(status));
        else env.stdout.write(formatStatus(status));
        if (!status.ready) throw new ShuntError("not ready", { code: "Reported" });
      } finally {
        kube.close();
      }
    });
}

async function waitUntilReady(kube: KubeClient, timeoutMs: number, signal: AbortSignal) {
  const { waitFor } = await import("../../lib/wait.ts");
  const { readStatus } = await import("../../installer/index.ts");
  return await waitFor(
    "every node to be ready",
    async () => {
      const status = await readStatus(kube);
      const wrong = status.nodes.find((node) => !node.ready);
      if (!status.installed) throw new Error("Shunt is not installed");
      if (wrong !== undefined) throw new Error(`${wrong.name}: ${wrong.reason}`);
      return status.ready ? status : undefined;
    },
    { timeoutMs, intervalMs: 500, signal },
  );
}
