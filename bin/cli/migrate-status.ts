// SPDX-License-Identifier: Apache-2.0
import { Command } from "commander";
import type { KubeClient } from "../../lib/kube.ts";
import type { KubeTarget } from "../../lib/kube-connect.ts";
import type { MigrationRecord } from "../../migrate/engine/index.ts";
import type { MigrationStatus } from "../../migrate/model/journal.ts";
import type { Report, ResidueItem } from "../../migrate/model/report.ts";
import type { Evidence } from "../../migrate/report/index.ts";
import type { CliEnv } from "./env.ts";
import { checkOutput, parseDuration, withKubeOptions } from "./options.ts";

interface StatusFlags extends KubeTarget {
  name?: string;
  output?: string;
}

async function withKube<T>(flags: KubeTarget, work: (kube: KubeClient) => Promise<T>): Promise<T> {
  const { connectKube } = await import("../../lib/kube-connect.ts");
  const kube = await connectKube(flags);
  try {
    return await work(kube);
  } finally {
    kube.close();
  }
}

/** `shunt migrate status`: how far it is. */
export function statusCommand(env: CliEnv): Command {
  return withKubeOptions(new Command("status"))
    .description("show how far a migration is, what is under way, and what is cordoned")
    .option("--name <name>", "name of the migration (default: the newest)")
    .option("-o, --output <format>", "json or yaml")
    .addHelpText("after", "\nExamples:\n  shunt migrate status\n  shunt migrate status -o json")
    .action(async (flags: StatusFlags) => {
      checkOutput(flags.output, ["json", "yaml"]);
      const { readStatus } = await import("../../migrate/engine/index.ts");
      const status = await withKube(flags, (kube) => readStatus(kube, flags.name));
      if (flags.output === "json") env.stdout.write(`${JSON.stringify(status, null, 2)}\n`);
      else if (flags.output === "yaml") env.stdout.write((await import("yaml")).stringify(status));
      else env.stdout.write(formatStatus(status));
    });
}

function formatStatus(status: MigrationStatus): string {
  const { name, phase, reason, strategy, steps, nodes, current, cordoned, holder } = status;
  const rows = [
    ["migration", name],
    ["strategy", strategy],
    ["phase", reason === "" ? phase : `${phase}: ${reason}`],
    ["steps", `${steps.done} of ${steps.total}${steps.failed === 0 ? "" : `, ${steps.failed} failed`}`],
    ["nodes", `${nodes.switched} of ${nodes.total} switched`],
    ["at", current.join(", ")],
    ["cordoned", cordoned.join(", ")],
    ["operator", holder],
  ].filter(([, value]) => value !== "");
  const next =
    phase === "Paused" ? "\nGo on with: shunt migrate resume. Undo it with: shunt migrate rollback.\n" : "";
  return `${rows.map(([key, value]) => `${key!.padEnd(11)}${value}`).join("\n")}\n${next}`;
}

/** `shunt migrate watch`: prints what changes until it is over. */
export function watchCommand(env: CliEnv): Command {
  return withKubeOptions(new Command("watch"))
    .description(
      "print each step as it changes, until the migration ends or pauses; Ctrl-C stops watching only",
    )
    .option("--name <name>", "name of the migration (default: the newest)")
    .option("--interval <duration>", "time between two looks", parseDuration, 2_000)
    .option("-o, --output <format>", "json: one change a line")
    .addHelpText("after", "\nExample:\n  shunt migrate watch")
    .action(async (flags: StatusFlags & { interval: number }) => {
      checkOutput(flags.output, ["json"]);
      await withKube(flags, (kube) => watch(env, kube, flags));
    });
}

async function watch(
  env: CliEnv,
  kube: KubeClient,
  flags: StatusFlags & { interval: number },
): Promise<void> {
  const { readMigration, readStatus } = await import("../../migrate/engine/index.ts");
  const { sleep } = await import("../../lib/wait.ts");
  const known = new Map<string, string>();
  for (;;) {
    const record = await readMigration(kube, flags.name);
    for (const { step, entry } of record.steps) {
      if ((known.get(step.name) ?? "pending") === entry.state) continue;
      known.set(step.name, entry.state);
      const { state, message = "" } = entry;
      const line = { time: new Date().toISOString(), step: step.name, state, message };
      env.stdout.write(
        flags.output === "json"
          ? `${JSON.stringify(line)}\n`
          : `${state.padEnd(8)} ${step.name}  ${message}\n`,
      );
    }
    const status = await readStatus(kube, record.name);
    if (status.holder === "") {
      if (flags.output !== "json") env.stdout.write(formatStatus(status));
      return;
    }
    if (env.signal.aborted) return;
    await sleep(flags.interval, env.signal).catch(() => undefined);
  }
}

/** `shunt migrate report`: the evidence. */
export function reportCommand(env: CliEnv): Command {
  return withKubeOptions(new Command("report"))
    .description("show what was done and what the probes saw, as one HTML page or as JSON")
    .option("--name <name>", "name of the migration (default: the newest)")
    .option("-o, --output <format>", "html or json", "json")
    .addHelpText(
      "after",
      "\nExamples:\n  shunt migrate report -o html > report.html\n  shunt migrate report -o json | jq .probes.lost",
    )
    .action(async (flags: StatusFlags) => {
      checkOutput(flags.output, ["html", "json"]);
      const report = await withKube(flags, (kube) => readReport(kube, env.signal, flags.name));
      const { reportHtml } = await import("../../migrate/report/index.ts");
      env.stdout.write(flags.output === "html" ? reportHtml(report) : `${JSON.stringify(report, null, 2)}\n`);
    });
}

/**
 * Gathers the report of a migration from its journal and its probes.
 * @param seen what else was seen of it
 */
export async function readReport(
  kube: KubeClient,
  signal: AbortSignal,
  name?: string,
  seen: Evidence = {},
): Promise<Report> {
  const { readMigration } = await import("../../migrate/engine/index.ts");
  const { makeReport } = await import("../../migrate/report/index.ts");
  const { readProbes } = await import("../../migrate/probes/index.ts");
  const record = await readMigration(kube, name);
  const reading = await readProbes(kube, signal).catch(() => undefined);
  const residue = residueOf(record.steps);
  return makeReport(record, {
    ...seen,
    residue,
    ...(reading === undefined
      ? {}
      : { probes: reading.probes, longConnections: reading.longConnections.list, ...reading.figures }),
  });
}

/** What the last look at each node found left over. */
const residueOf = (steps: MigrationRecord["steps"]): ResidueItem[] =>
  steps
    .filter(({ step }) => step.kind === "verify-residue")
    .flatMap(({ entry }) => (entry.notes?.residue ?? []) as unknown as ResidueItem[]);
