// SPDX-License-Identifier: Apache-2.0
import { readFile } from "node:fs/promises";
import { Command } from "commander";
import { errorMessage, ShuntError, UsageError } from "../../lib/errors.ts";
import type { KubeClient } from "../../lib/kube.ts";
import type { KubeTarget } from "../../lib/kube-connect.ts";
import type { Operator, Outcome } from "../../migrate/engine/index.ts";
import type { Plan } from "../../migrate/model/plan.ts";
import type { CliEnv } from "./env.ts";
import { type PlanFlags, planFor, withPlanOptions } from "./migrate-plan.ts";
import { readNodeFacts } from "./migrate-reading.ts";
import { type OperateFlags, withOperateOptions } from "./operate-flags.ts";
import { checkOutput, parseDuration, withKubeOptions } from "./options.ts";
import { type PlanSource, runShown } from "./run-shown.ts";

/** `shunt migrate run`: begins a migration. */
export function runCommand(env: CliEnv): Command {
  return withOperateOptions(withPlanOptions(new Command("run")))
    .description("run a plan, and pause by itself when something is lost or fails; Ctrl-C pauses too")
    .option("--plan <file>", "a reviewed plan; without it one is made from the other flags")
    .addHelpText(
      "after",
      `
A plan that does not fit the cluster any more is refused with the difference.

Examples:
  shunt migrate run --plan plan.yaml
  shunt migrate run --strategy kube-proxy-only --yes
  shunt migrate run --max-unavailable 3 --on-failure rollback --yes -o json

Exit codes: 0 completed, 1 paused or failed, 2 wrong usage, 3 refused, 130 interrupted.`,
    )
    .action(async (flags: OperateFlags & PlanFlags & { plan?: string }) => {
      checkOutput(flags.output, ["json"]);
      const plan =
        flags.plan === undefined ? await planFor(env, flags) : await freshPlan(env, flags, flags.plan);
      const name = flags.name ?? defaultName(new Date());
      await operate(env, { ...flags, name }, { plan }, async (operator, engine) => {
        await confirm(env, flags, plan, operator.kube);
        return await engine.startMigration(operator, plan, name);
      });
    });
}

/** `shunt migrate resume`: goes on. */
export function resumeCommand(env: CliEnv): Command {
  return withOperateOptions(withKubeOptions(new Command("resume")))
    .description("go on with a migration from wherever it stopped, however it stopped")
    .addHelpText(
      "after",
      "\nExamples:\n  shunt migrate resume\n  shunt migrate resume --on-failure rollback -o json",
    )
    .action(async (flags: OperateFlags) => {
      checkOutput(flags.output, ["json"]);
      await operate(env, flags, "of-journal", (operator, engine) =>
        engine.resumeMigration(operator, flags.name),
      );
    });
}

/** `shunt migrate rollback`: undoes it. */
export function rollbackCommand(env: CliEnv): Command {
  return withOperateOptions(withKubeOptions(new Command("rollback")))
    .description("undo a migration step by step, the last one first; or one node's switch")
    .option("--node <name>", "undo this node only; resume switches it again")
    .addHelpText(
      "after",
      "\nAn operator that is at work is asked to pause first.\n\nExamples:\n  shunt migrate rollback\n  shunt migrate rollback --node worker-2",
    )
    .action(async (flags: OperateFlags & { node?: string }) => {
      checkOutput(flags.output, ["json"]);
      await operate(env, flags, "backwards", async (operator, engine) => {
        await askToPause(operator.kube, flags.name, env.signal, flags.pauseGrace + 120_000);
        return await engine.rollbackMigration(operator, flags.name, flags.node);
      });
    });
}

/** `shunt migrate pause`: asks the operator at work to stop. */
export function pauseCommand(env: CliEnv): Command {
  return withKubeOptions(new Command("pause"))
    .description("ask the operator at work to stop after the step under way, and wait until it has")
    .option("--name <name>", "name of the migration")
    .option("--timeout <duration>", "how long to wait", parseDuration, 300_000)
    .addHelpText("after", "\nExample:\n  shunt migrate pause && shunt migrate status")
    .action(async (flags: KubeTarget & { name?: string; timeout: number }) => {
      const { connectKube } = await import("../../lib/kube-connect.ts");
      const kube = await connectKube(flags);
      try {
        await askToPause(kube, flags.name, env.signal, flags.timeout);
        env.stdout.write("Paused. Go on with: shunt migrate resume\n");
      } finally {
        kube.close();
      }
    });
}

async function askToPause(
  kube: KubeClient,
  name: string | undefined,
  signal: AbortSignal,
  timeoutMs: number,
): Promise<void> {
  const { readStatus } = await import("../../migrate/engine/index.ts");
  const { waitFor } = await import("../../lib/wait.ts");
  const status = await readStatus(kube, name);
  if (status.holder === "") return;
  await kube.patch(`/apis/shunt.dev/v1alpha1/migrations/${status.name}`, "merge", { spec: { paused: true } });
  await waitFor("the operator to stop", async () => (await readStatus(kube, status.name)).holder === "", {
    timeoutMs,
    intervalMs: 500,
    signal,
    remedy: "See what it does with: shunt migrate watch",
  });
}

const defaultName = (now: Date): string =>
  `to-shunt-${now.toISOString().slice(0, 19).replaceAll(/[-:]/g, "").replace("T", "-")}`;

async function freshPlan(env: CliEnv, flags: KubeTarget, file: string): Promise<Plan> {
  const content = await readFile(file, "utf8").catch((cause: unknown) => {
    throw new UsageError(
      `Cannot read the plan ${file}: ${errorMessage(cause)}`,
      "Make one: shunt migrate plan --out FILE",
    );
  });
  const { parsePlanFile, requireFreshPlan } = await import("../../migrate/plan/index.ts");
  const plan = parsePlanFile(content, file);
  const { connectKube } = await import("../../lib/kube-connect.ts");
  const { readInventory } = await import("../../migrate/inventory/index.ts");
  const kube = await connectKube(flags);
  try {
    const looked = plan.basis.nodeFacts === true;
    const facts = looked ? { facts: await readNodeFacts(env, kube, plan.options.agentValues) } : {};
    requireFreshPlan(plan, await readInventory(kube, { signal: env.signal, ...facts }));
    return plan;
  } finally {
    kube.close();
  }
}

type Engine = typeof import("../../migrate/engine/index.ts");

async function operate(
  env: CliEnv,
  flags: OperateFlags,
  source: PlanSource,
  work: (operator: Operator, engine: Engine) => Promise<Outcome>,
): Promise<void> {
  const { connectKube } = await import("../../lib/kube-connect.ts");
  const engine = await import("../../migrate/engine/index.ts");
  const kube = await connectKube(flags);
  try {
    const outcome = await runShown(env, kube, flags, source, (operator) => work(operator, engine));
    const cordoned = outcome.phase === "Paused" ? (await engine.readStatus(kube, flags.name)).cordoned : [];
    finish(env, flags, outcome, cordoned);
  } finally {
    kube.close();
  }
}

function finish(env: CliEnv, flags: OperateFlags, outcome: Outcome, cordoned: string[]): void {
  const { phase, reason, error } = outcome;
  if (flags.output === "json")
    env.stdout.write(
      `${JSON.stringify({ time: new Date().toISOString(), event: "end", phase, reason, cordoned })}\n`,
    );
  if (phase === "Completed" || phase === "RolledBack") {
    const words = phase === "Completed" ? "The migration is complete." : "Everything is as it was before.";
    if (flags.output !== "json") env.stdout.write(`\n${words} See: shunt migrate report\n`);
    return;
  }
  const held = cordoned.length === 0 ? "" : ` Still cordoned: ${cordoned.join(", ")}.`;
  env.stderr.write(`Paused: ${reason}.${held}\n`);
  if (error?.remedy !== undefined) env.stderr.write(`  ${error.remedy}\n`);
  // A node that was rolled back on request is what was asked for.
  if (error === undefined && /^node .* was rolled back$/.test(reason)) return;
  throw new ShuntError(reason, {
    code: "Reported",
    exitCode: env.signal.aborted ? 130 : (error?.exitCode ?? 1),
    remedy: "Go on with: shunt migrate resume. Undo it with: shunt migrate rollback.",
  });
}

async function confirm(env: CliEnv, flags: OperateFlags, plan: Plan, kube: KubeClient): Promise<void> {
  const isAsked = env.stdin.isTTY === true && env.stdout.isTTY === true;
  if (flags.yes === true || flags.output === "json" || !isAsked) return;
  const { formatPlan } = await import("../../migrate/plan/index.ts");
  env.stdout.write(formatPlan(plan));
  const { default: inquirer } = await import("inquirer");
  const message = `Migrate the cluster at ${kube.server}?`;
  const { go } = await inquirer.prompt([{ type: "confirm", name: "go", message, default: false }]);
  if (go !== true) throw new UsageError("Nothing was changed.");
}
