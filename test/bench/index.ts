// SPDX-License-Identifier: Apache-2.0
import { parseArgs } from "node:util";
import { errorMessage, ShuntError, UsageError } from "../../lib/errors.ts";
import type { Bench, BenchContext, BenchResult, DatapathParts } from "./bench.ts";

/** Every bench, one file each; loaded when it runs. */
const benches: Record<string, { summary: string; load: () => Promise<Bench> }> = {
  forwarding: {
    summary: "pod-to-pod throughput and short connections against a veth, a bridge with routes and VXLAN",
    load: async () => (await import("./forwarding.ts")).forwarding,
  },
  cni: {
    summary: "time of the CNI plugin's ADD and DEL against the stock bridge with host-local",
    load: async () => (await import("./cni.ts")).cni,
  },
  cli: {
    summary: "time of shunt --help against the same Node.js doing nothing",
    load: async () => (await import("./cli.ts")).cli,
  },
};

const usage = `usage: npm run bench -- [NAME…] [-o json] [--rounds N]\nbenches:\n${Object.entries(benches)
  .map(([name, { summary }]) => `  ${name}: ${summary}`)
  .join("\n")}\n`;

interface BenchStreams {
  stdout: NodeJS.WritableStream;
  stderr: NodeJS.WritableStream;
}

/** Runs the named benches (all without a name) and prints their ratios; returns the exit code. */
export async function main(
  argv: readonly string[],
  parts: DatapathParts,
  { stdout, stderr }: BenchStreams,
): Promise<number> {
  try {
    const { positionals, values } = parseArguments(argv);
    if (values.help === true) {
      stdout.write(usage);
      return 0;
    }
    const names = positionals.length > 0 ? positionals : Object.keys(benches);
    const unknown = names.find((name) => benches[name] === undefined);
    if (unknown !== undefined) throw new UsageError(`No bench is called "${unknown}"`, usage);
    const context: BenchContext = {
      parts,
      rounds: readRounds(values.rounds),
      progress: (line) => void stderr.write(`${line}\n`),
    };
    const results: Record<string, BenchResult> = {};
    for (const name of names) results[name] = await (await benches[name]!.load())(context);
    stdout.write(values.output === "json" ? asJson(results) : asText(results));
    return 0;
  } catch (error) {
    stderr.write(`bench: ${errorMessage(error)}\n`);
    if (error instanceof ShuntError && error.remedy !== undefined) stderr.write(`${error.remedy}\n`);
    return error instanceof ShuntError ? error.exitCode : 1;
  }
}

function parseArguments(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        output: { type: "string", short: "o" },
        rounds: { type: "string" },
        help: { type: "boolean", short: "h" },
      },
    });
  } catch (error) {
    throw new UsageError(errorMessage(error), usage);
  }
}

function readRounds(text: string | undefined): number {
  const rounds = Number(text ?? "5");
  if (!Number.isInteger(rounds) || rounds < 1 || rounds > 1000)
    throw new UsageError(`--rounds "${text}" is not a number from 1 to 1000`);
  return rounds;
}

function asJson(results: Record<string, BenchResult>): string {
  const ratios = Object.assign({}, ...Object.values(results).map((result) => result.ratios));
  return `${JSON.stringify({ ratios, results }, null, 2)}\n`;
}

function asText(results: Record<string, BenchResult>): string {
  const lines = Object.entries(results).flatMap(([name, result]) => [
    `${name}:`,
    ...Object.entries(result.ratios).map(([ratio, value]) => `  ${ratio.padEnd(48)} ${value.toFixed(2)}`),
  ]);
  return `${lines.join("\n")}\n`;
}
