// SPDX-License-Identifier: Apache-2.0
import { type Command, Option } from "commander";
import { UsageError } from "../../lib/errors.ts";
import type { KubeTarget } from "../../lib/kube-connect.ts";
import { type CutOverFlags, withCutOverOptions } from "./migrate-compare.ts";
import type { ProviderFlags } from "./migrate-provider.ts";
import { parseDuration } from "./options.ts";

/** Flags of every command that runs steps. */
export interface OperateFlags extends KubeTarget, ProviderFlags, CutOverFlags {
  name?: string;
  yes?: boolean;
  output?: string;
  onFailure: "pause" | "rollback";
  errorBudget: number;
  apiTimeout: number;
  pauseGrace: number;
  probes: boolean;
  probeRate?: number;
  allowLost: number;
  connectivityTest: boolean;
  acceptPolicyDifferences?: boolean;
  reportDir?: string;
}

function whole(text: string): number {
  if (!/^\d{1,6}$/.test(text)) throw new UsageError(`"${text}" is not a whole number`);
  return Number(text);
}

/** Adds the flags of whatever runs steps. */
export function withOperateOptions(command: Command): Command {
  return withCutOverOptions(command)
    .option("--name <name>", "name of the migration")
    .option("-y, --yes", "do not ask")
    .addOption(
      new Option("--on-failure <what>", "what to do with a node whose switch fails, before pausing")
        .choices(["pause", "rollback"])
        .default("pause"),
    )
    .option("--error-budget <n>", "failed attempts that are made up for before it pauses", whole, 3)
    .option("--api-timeout <duration>", "how long the API server may be away", parseDuration, 600_000)
    .option(
      "--pause-grace <duration>",
      "how long a step under way may go on after a pause",
      parseDuration,
      60_000,
    )
    .option("--no-probes", "run no probes: losses are then not seen")
    .option("--probe-rate <n>", "requests a second of all probes together", whole)
    .option("--allow-lost <n>", "lost requests and broken connections that do not pause it", whole, 0)
    .option("--no-connectivity-test", "trust each agent's word, and test no connections after a node")
    .option(
      "--accept-policy-differences",
      "go on where the network does something else than policies say; Shunt enforces what they say",
    )
    .option("--provider-kubeconfig <file>", "kubeconfig of the cluster in which Cluster API's objects are")
    .option("--provider-context <name>", "its context")
    .option("--report-dir <dir>", "write report.html and report.json there, however it ends")
    .option("-o, --output <format>", "json: one event a line");
}
