// SPDX-License-Identifier: Apache-2.0
import type { Command } from "commander";
import { UsageError } from "../../lib/errors.ts";

/** Adds the flags by which every command that talks to a cluster names it. */
export function withKubeOptions(command: Command): Command {
  return command
    .option("--kubeconfig <file>", "kubeconfig to use (default: as kubectl)")
    .option("--context <name>", "context of the kubeconfig to use");
}

/** Parser for repeatable options. */
export const collect = (value: string, previous: string[]): string[] => [...previous, value];

/** Parses 90, 90s, 5m, 1h or 500ms into milliseconds. */
export function parseDuration(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(text);
  const unit = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 }[match?.[2] ?? "s"]!;
  if (match === null || Number(match[1]) <= 0)
    throw new UsageError(`"${text}" is not a duration`, "Write it like 90s, 5m or 1h.");
  return Number(match[1]) * unit;
}

/** Checks the value of -o against what the command can print. */
export function checkOutput(output: string | undefined, allowed: readonly string[]): void {
  if (output !== undefined && !allowed.includes(output))
    throw new UsageError(`Unknown output format "${output}"`, `Use one of: ${allowed.join(", ")}.`);
}
