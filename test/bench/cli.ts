// SPDX-License-Identifier: Apache-2.0
import path from "node:path";
import { run } from "../../lib/run.ts";
import { type BenchContext, type BenchResult, median, pairedRatio } from "./bench.ts";

const shunt = path.join(import.meta.dirname, "../../shunt");
const startsPerRound = 4;

/** How long `shunt --help` takes, launcher included, as a ratio to the same Node.js doing nothing; goal: at most 3. */
export async function cli(context: BenchContext): Promise<BenchResult> {
  const help: number[] = [];
  const bare: number[] = [];
  await timeMs(shunt, ["--help"]); // fills the compile cache
  for (let round = 1; round <= context.rounds; round++) {
    context.progress(`cli: round ${round} of ${context.rounds}`);
    for (let start = 0; start < startsPerRound; start++) {
      help.push(await timeMs(shunt, ["--help"]));
      bare.push(await timeMs(process.execPath, ["-e", "0"]));
    }
  }
  return {
    ratios: { cliStartVsBareNode: pairedRatio(help, bare) },
    medians: {
      shunt_help_ms: Math.round(median(help) * 10) / 10,
      bare_node_ms: Math.round(median(bare) * 10) / 10,
    },
  };
}

async function timeMs(file: string, args: string[]): Promise<number> {
  const start = performance.now();
  await run(file, args, { timeoutMs: 30_000 });
  return performance.now() - start;
}
