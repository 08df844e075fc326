// SPDX-License-Identifier: Apache-2.0
import { Command, CommanderError } from "commander";
import { errorMessage, ShuntError } from "../../lib/errors.ts";
import { VERSION } from "../../lib/version.ts";
import { clusterCommand } from "./cluster.ts";
import { completionCommand } from "./completion.ts";
import { connectivityCommand } from "./connectivity.ts";
import { demoCommand } from "./demo.ts";
import type { CliEnv } from "./env.ts";
import { imageCommand } from "./image.ts";
import { installCommand, statusCommand, uninstallCommand, upgradeCommand } from "./install.ts";
import { migrateCommand } from "./migrate.ts";
import { policyCommand } from "./policy.ts";
import { serviceCommand } from "./service.ts";
import { wizardCommand } from "./wizard.ts";

/** Builds the whole command tree; nothing heavy is imported until a command runs. */
export function buildProgram(env: CliEnv): Command {
  const program = new Command("shunt")
    .description(
      "Move a Kubernetes cluster onto an eBPF node agent, install it on new clusters, and prove it works.",
    )
    .version(VERSION, "-V, --version", "print the version")
    .helpOption("-h, --help", "show help for a command")
    .showSuggestionAfterError()
    .addHelpText(
      "after",
      `
Examples:
  shunt demo                                     the whole job on a throw-away cluster on this machine
  shunt wizard                                   look at the cluster, ask, show the plan, run it
  shunt cluster create --name dev --workers 2    a test cluster of namespaces, no Docker needed
  shunt migrate preflight                        what stands in the way of moving this cluster
  shunt install                                  install the agent on the current context's cluster
  shunt status --wait                            wait until the agent runs on every node
  shunt connectivity test                        prove that the network works`,
    );
  const commands = [
    demoCommand(env),
    wizardCommand(env, async (words) => void (await buildProgram(env).parseAsync(words, { from: "user" }))),
    migrateCommand(env),
    installCommand(env),
    upgradeCommand(env),
    statusCommand(env),
    uninstallCommand(env),
    connectivityCommand(env),
    policyCommand(env),
    serviceCommand(env),
    clusterCommand(env),
    imageCommand(env),
    completionCommand(env, () => program),
  ];
  for (const command of commands) program.addCommand(command);
  settle(program, env);
  return program;
}

/** No command of the tree may exit or print by itself. */
function settle(command: Command, env: CliEnv): void {
  command.exitOverride().configureOutput({
    writeOut: (text) => void env.stdout.write(text),
    writeErr: (text) => void env.stderr.write(text),
    getOutHelpWidth: () => env.stdout.columns ?? 100,
  });
  for (const child of command.commands) settle(child, env);
}

/** The command-line program. Returns the exit code: 0 done, 1 failed, 2 wrong usage, 3 blocked, 130 interrupted. */
export async function main(env: CliEnv, argv: readonly string[]): Promise<number> {
  const program = buildProgram(env);
  try {
    await program.parseAsync([...argv], { from: "user" });
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return 0;
      const command = program.commands.find((child) => child.name() === argv[0]);
      env.stderr.write(`See ${command === undefined ? "shunt" : `shunt ${command.name()}`} --help\n`);
      return 2;
    }
    return report(env, error);
  }
}

function report(env: CliEnv, error: unknown): number {
  if (env.signal.aborted && !(error instanceof ShuntError && error.code === "Reported")) {
    env.stderr.write("Interrupted. Run the same command again to finish, or its opposite to undo.\n");
    return 130;
  }
  if (error instanceof ShuntError) {
    if (error.code !== "Reported") env.stderr.write(`Error: ${error.message}\n`);
    if (error.remedy !== undefined) env.stderr.write(`  ${error.remedy}\n`);
    return error.exitCode;
  }
  env.stderr.write(`Error: ${errorMessage(error)}\n`);
  if (env.env.SHUNT_DEBUG !== undefined && error instanceof Error) env.stderr.write(`${error.stack}\n`);
  return 1;
}
