// SPDX-License-Identifier: Apache-2.0
import { Command } from "commander";
import type { CliEnv } from "./env.ts";
import { compareCommand } from "./migrate-compare.ts";
import { inventoryCommand, preflightCommand } from "./migrate-inventory.ts";
import { planCommand } from "./migrate-plan.ts";
import { pauseCommand, resumeCommand, rollbackCommand, runCommand } from "./migrate-run.ts";
import { reportCommand, statusCommand, watchCommand } from "./migrate-status.ts";

/** `shunt migrate`: a running cluster moves onto the agent. */
export function migrateCommand(env: CliEnv): Command {
  const command = new Command("migrate")
    .description(
      "move a running cluster from its pod network and kube-proxy onto the agent, losing no request",
    )
    .addHelpText(
      "after",
      `
Examples:
  shunt migrate preflight                        what stands in the way
  shunt migrate plan --out plan.yaml             what would be done, for review
  shunt migrate run --plan plan.yaml             do it; Ctrl-C pauses, resume goes on
  shunt migrate rollback                         undo it, from wherever it is
  shunt migrate report -o html > report.html     the evidence`,
    );
  const children = [
    inventoryCommand(env),
    preflightCommand(env),
    planCommand(env),
    compareCommand(env),
    runCommand(env),
    pauseCommand(env),
    resumeCommand(env),
    rollbackCommand(env),
    statusCommand(env),
    watchCommand(env),
    reportCommand(env),
  ];
  for (const child of children) command.addCommand(child);
  return command;
}
