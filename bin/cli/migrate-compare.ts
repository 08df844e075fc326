// SPDX-License-Identifier: Apache-2.0
import { Command } from "commander";
import { ShuntError, UsageError } from "../../lib/errors.ts";
import type { KubeClient } from "../../lib/kube.ts";
import type { KubeTarget } from "../../lib/kube-connect.ts";
import type { NewCluster } from "../../migrate/model/tools.ts";
import type { CliEnv } from "./env.ts";
import { checkOutput, collect, parseDuration, withKubeOptions } from "./options.ts";

/** Flags that name a parallel cluster. */
export interface TargetFlags {
  targetContext?: string;
  targetKubeconfig?: string;
  ignore?: string[];
}

/** Flags of a run that ends in a parallel cluster. */
export interface CutOverFlags extends TargetFlags {
  cutOverDone?: boolean;
  readyTimeout?: number;
}

function withTarget(command: Command): Command {
  return command
    .option("--target-context <name>", "context of the new cluster, for new-cluster")
    .option("--target-kubeconfig <file>", "kubeconfig of the new cluster (default: the old one's)")
    .option(
      "--ignore <object>",
      'an object that may be missing or differ: "Kind namespace/name", * for anything; repeatable',
      collect,
      [],
    );
}

/** Adds the flags of a run that ends in a parallel cluster. */
export const withCutOverOptions = (command: Command): Command =>
  withTarget(command)
    .option("--cut-over-done", "the traffic goes to the new cluster now, for new-cluster")
    .option(
      "--ready-timeout <duration>",
      "how long the new cluster's workloads may be starting",
      parseDuration,
      600_000,
    );

const isNamed = ({ targetContext, targetKubeconfig }: TargetFlags): boolean =>
  targetContext !== undefined || targetKubeconfig !== undefined;

async function connectTarget(flags: KubeTarget & TargetFlags): Promise<KubeClient> {
  const { connectKube } = await import("../../lib/kube-connect.ts");
  return await connectKube({
    kubeconfig: flags.targetKubeconfig ?? flags.kubeconfig,
    context: flags.targetContext,
  });
}

/** What the steps of strategy new-cluster ask of the new cluster; undefined when none was named. */
export async function newClusterTool(
  kube: KubeClient,
  flags: KubeTarget & CutOverFlags,
): Promise<NewCluster | undefined> {
  if (!isNamed(flags)) return undefined;
  const { compareClusters, summarizeComparison } = await import("../../migrate/compare/index.ts");
  const target = await connectTarget(flags);
  return {
    server: target.server,
    cutOverDone: flags.cutOverDone === true,
    waitMs: flags.readyTimeout ?? 600_000,
    intervalMs: 10_000,
    async compare(signal) {
      const comparison = await compareClusters(kube, target, { signal, ignore: flags.ignore ?? [] });
      const { ready, findings } = comparison;
      return { ready, findings, summary: summarizeComparison(comparison) };
    },
  };
}

/** `shunt migrate compare`: could a parallel cluster take this one's place. */
export function compareCommand(env: CliEnv): Command {
  return withTarget(withKubeOptions(new Command("compare")))
    .description(
      "compare this cluster with a new one beside it, object by object, and tell whether it is ready",
    )
    .option("-o, --output <format>", "table or json", "table")
    .addHelpText(
      "after",
      `
Both are only read. Values of Secrets are compared, and never shown.

Examples:
  shunt migrate compare --target-context new
  shunt migrate compare --context old --target-kubeconfig new.yaml -o json
  shunt migrate compare --target-context new --ignore "ConfigMap monitoring/*"

Exit codes: 0 ready, 1 failed, 2 wrong usage, 3 not ready.`,
    )
    .action(async (flags: KubeTarget & TargetFlags & { output: string }) => {
      checkOutput(flags.output, ["table", "json"]);
      if (!isNamed(flags))
        throw new UsageError(
          "No new cluster was named",
          "Use --target-context, --target-kubeconfig or both.",
        );
      const { connectKube } = await import("../../lib/kube-connect.ts");
      const { compareClusters, formatComparison } = await import("../../migrate/compare/index.ts");
      const kube = await connectKube(flags);
      const target = await connectTarget(flags);
      try {
        const ignore = flags.ignore ?? [];
        const comparison = await compareClusters(kube, target, { signal: env.signal, ignore });
        const width = Math.min(env.stdout.columns ?? 110, 140);
        env.stdout.write(
          flags.output === "json"
            ? `${JSON.stringify(comparison, null, 2)}\n`
            : formatComparison(comparison, width),
        );
        if (!comparison.ready)
          throw new ShuntError("the new cluster is not ready", { code: "Reported", exitCode: 3 });
      } finally {
        kube.close();
        target.close();
      }
    });
}
