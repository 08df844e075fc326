// SPDX-License-Identifier: Apache-2.0
import { Command, Option } from "commander";
import type { Ask, ClusterLook, ContextLook, WizardFlags, WizardPlan } from "../../installer/wizard/index.ts";
import { ShuntError, UsageError } from "../../lib/errors.ts";
import { formatCommand } from "../../lib/format-command.ts";
import type { CliEnv } from "./env.ts";
import { collect, withKubeOptions } from "./options.ts";

interface Flags extends WizardFlags {
  yes?: boolean;
}

const choice = (flags: string, description: string, ...values: string[]): Option =>
  new Option(flags, description).choices(values);

/**
 * `shunt wizard`: the other commands, by questions.
 * @param run runs one of them, given its words, as if they had been typed
 */
export function wizardCommand(env: CliEnv, run: (words: string[]) => Promise<void>): Command {
  return withKubeOptions(new Command("wizard"))
    .description("look at the cluster, ask what cannot be known, show the plan and the command, and run it")
    .addOption(choice("--path <path>", "what to do", "install", "migrate", "test-cluster", "connectivity"))
    .addOption(choice("--routing <mode>", "install: how packets get from node to node", "vxlan", "direct"))
    .option("--image <ref>", "install: image of the agent")
    .option("--keep-kube-proxy", "install: leave kube-proxy as it is")
    .addOption(
      choice("--strategy <way>", "migrate: which way", "node-by-node", "blue-green", "kube-proxy-only"),
    )
    .option("--max-unavailable <count>", "migrate: nodes that may be away at once")
    .option("--plan-file <file>", "migrate: file for the plan")
    .option("--force", "migrate: drains may delete pods that no controller makes anew")
    .option("--delete-emptydir-data", "migrate: drains may delete emptyDir data")
    .option("--accept <finding>", "migrate: take a finding upon yourself; repeatable", collect, [])
    .option("--name <name>", "test-cluster: its name")
    .option("--workers <count>", "test-cluster: nodes beside the control plane")
    .addOption(choice("--ip-family <family>", "test-cluster: addresses", "ipv4", "ipv6", "dual"))
    .addOption(
      choice(
        "--cni <kind>",
        "test-cluster: its pod network",
        "none",
        "flannel",
        "calico",
        "kindnet",
        "bridge",
      ),
    )
    .addOption(choice("--kube-proxy <mode>", "test-cluster: its kube-proxy", "iptables", "nftables", "none"))
    .option("--test", "test the connectivity at the end")
    .option("--no-test", "do not test the connectivity")
    .option("-y, --yes", "ask nothing: take what is preset for what no flag says, and run it")
    .addHelpText(
      "after",
      `
What a flag says is not asked. Ctrl-C at any question changes nothing.

Examples:
  shunt wizard
  shunt wizard --path migrate --strategy node-by-node
  shunt wizard --path test-cluster --name dev --cni flannel --yes`,
    )
    .action((flags: Flags) => wizard(env, flags, run));
}

async function wizard(env: CliEnv, flags: Flags, run: (words: string[]) => Promise<void>): Promise<void> {
  const { presets, askPath, askPlan } = await import("../../installer/wizard/index.ts");
  const isTerminal = env.stdin.isTTY === true && env.stdout.isTTY === true;
  const asks = flags.yes !== true && isTerminal;
  const ask = asks ? await askOnTerminal(env) : presets;
  const look = await chooseCluster(env, flags, ask);
  const path = await askPath(ask, flags, look);
  const known = path === "migrate" && look !== undefined ? await withBlockers(env, flags, look) : look;
  const plan = await askPlan(ask, flags, path, known);
  if (flags.yes !== true && !isTerminal) throw needsTerminal(plan);
  await show(env, plan, run);
  if (asks && !(await ask.confirm({ message: "Run it now?", preset: true })))
    return void env.stdout.write("Nothing was changed.\n");
  for (const words of plan.run) {
    env.stdout.write(`\n> ${formatCommand("shunt", words)}\n`);
    await run(words);
  }
}

async function show(env: CliEnv, plan: WizardPlan, run: (words: string[]) => Promise<void>): Promise<void> {
  env.stdout.write("\n");
  for (const words of plan.show) await run(words);
  const shown = plan.show.some((words) => words[0] === "migrate") ? [...plan.show, ...plan.run] : plan.run;
  const lines = shown.map((words) => `  ${formatCommand("shunt", words)}`);
  env.stdout.write(`\nThe same without questions:\n${lines.join("\n")}\n\n`);
}

function needsTerminal(plan: WizardPlan): ShuntError {
  const lines = plan.run.map((words) => formatCommand("shunt", words));
  return new UsageError(
    "The wizard asks questions, and this is no terminal",
    `Use ${lines.map((line) => `\n    ${line}`).join("")}\n  or shunt wizard --yes with --path and what else you want to say.`,
  );
}

/** Finds the cluster to work on and says what is there; undefined when there is none, or none is needed. */
async function chooseCluster(env: CliEnv, flags: Flags, ask: Ask): Promise<ClusterLook | undefined> {
  if (flags.path === "test-cluster") return undefined;
  const { formatLook, lookAtCluster, lookAtContexts } = await import("../../installer/wizard/index.ts");
  const { connectKube } = await import("../../lib/kube-connect.ts");
  env.stdout.write("Looking at the clusters of the kubeconfig ...\n");
  const contexts = await lookAtContexts(flags.kubeconfig, env.signal);
  const context = flags.context ?? (await chooseContext(env, contexts, ask));
  if (context === undefined) return undefined;
  const kube = await connectKube({ kubeconfig: flags.kubeconfig, context });
  try {
    const look = await lookAtCluster(kube, context);
    env.stdout.write(`\n${formatLook(look)}\n`);
    return look;
  } finally {
    kube.close();
  }
}

/** Adds what stands in the way of a migration, so that only what matters here is asked. */
async function withBlockers(env: CliEnv, flags: Flags, look: ClusterLook): Promise<ClusterLook> {
  const { connectKube } = await import("../../lib/kube-connect.ts");
  const { preflight } = await import("../../migrate/preflight/index.ts");
  const { readForMigration } = await import("./migrate-reading.ts");
  const kube = await connectKube({ kubeconfig: flags.kubeconfig, context: look.context });
  try {
    const { inventory, agent } = await readForMigration(env, kube, { set: [] }, "node-by-node");
    const { routing, tunnelPort, mtu, modes } = agent;
    const findings = preflight(inventory, { routing, tunnelPort, mtu, policy: modes.policy });
    return {
      ...look,
      blockers: findings.flatMap(({ id, severity }) => (severity === "block" ? [id] : [])),
    };
  } finally {
    kube.close();
  }
}

async function chooseContext(env: CliEnv, contexts: ContextLook[], ask: Ask): Promise<string | undefined> {
  const reachable = contexts.filter(({ problem }) => problem === undefined);
  if (reachable.length === 0) {
    const lines = contexts.map(({ name, server, problem }) => `  ${name} at ${server}: ${problem}\n`);
    env.stdout.write(
      contexts.length === 0 ? "There is no kubeconfig.\n" : `No cluster answers:\n${lines.join("")}`,
    );
    return undefined;
  }
  const preset = (reachable.find(({ current }) => current) ?? reachable[0]!).name;
  if (contexts.length === 1) return preset;
  return await ask.select({
    message: "Which cluster?",
    preset,
    choices: contexts.map(({ name, server, version, problem, current }) => ({
      value: name,
      name: `${name}${current ? " (current)" : ""}  ${server}${version === undefined ? "" : `  ${version}`}`,
      ...(problem === undefined ? {} : { disabled: problem }),
    })),
  });
}

/** Questions by inquirer. Ctrl-C at one of them ends the command before anything is changed. */
async function askOnTerminal(env: CliEnv): Promise<Ask> {
  const { default: inquirer } = await import("inquirer");
  const prompt = inquirer.createPromptModule({ input: env.stdin as never, output: env.stdout as never });
  const one = async <Answer>(question: object): Promise<Answer> => {
    try {
      return ((await prompt([{ ...question, name: "answer" } as never])) as { answer: Answer }).answer;
    } catch (error) {
      if (!(error instanceof Error) || !["ExitPromptError", "AbortPromptError"].includes(error.name))
        throw error;
      throw new ShuntError("interrupted", {
        code: "Reported",
        exitCode: 130,
        remedy: "Nothing was changed.",
      });
    }
  };
  return {
    select: ({ message, choices, preset }) =>
      one({
        type: "select",
        message,
        default: preset,
        choices: choices.map(disabledWithReason),
        loop: false,
      }),
    input: ({ message, preset, check }) =>
      one({
        type: "input",
        message,
        default: preset,
        validate: (text: string) => check(text) ?? true,
      }),
    confirm: ({ message, preset }) => one({ type: "confirm", message, default: preset }),
  };
}

const disabledWithReason = ({ disabled, ...rest }: { disabled?: string; value: string; name: string }) =>
  disabled === undefined ? rest : { ...rest, disabled: `(${disabled})` };
