// SPDX-License-Identifier: Apache-2.0
import { errorMessage, ShuntError } from "../../../../lib/errors.ts";
import type { KubeClient } from "../../../../lib/kube.ts";
import { connectKube } from "../../../../lib/kube-connect.ts";
import { createLogger, type Logger } from "../../../../lib/log.ts";
import { holdLease } from "./leader-election.ts";

/** What a part that works as the only one of its kind is started with. */
export interface LeaderOptions {
  kubeconfig: string;
  logLevel: "debug" | "info";
  /** Lease to hold while working; undefined works without one. */
  lease: string | undefined;
}

/** Runs a part's main, printing what its user can mend. Returns the exit code. */
export async function exitCodeOf(run: () => Promise<number>): Promise<number> {
  try {
    return await run();
  } catch (error) {
    if (!(error instanceof ShuntError)) throw error;
    process.stderr.write(`${error.message}\n${error.remedy ?? ""}\n`);
    return error.exitCode;
  }
}

/**
 * Lets `work` run while it holds the lease, until a signal ends the process. Returns the exit code: 1 when the
 * lease was lost or the work failed.
 */
export async function runLeader(
  options: LeaderOptions,
  work: (client: KubeClient, log: Logger, signal: AbortSignal) => Promise<void>,
): Promise<number> {
  const log = createLogger(undefined, options.logLevel);
  const client = await connectKube({ kubeconfig: options.kubeconfig });
  const stop = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => stop.abort());
  let exitCode = 0;
  const fail = (reason: string) => {
    log.error("stopping", { reason });
    exitCode = 1;
    stop.abort();
  };
  try {
    if (options.lease !== undefined) await holdLease(client, options.lease, log, stop.signal, fail);
    await work(client, log, stop.signal);
  } catch (error) {
    if (!stop.signal.aborted) fail(errorMessage(error));
  }
  // Time to give the lease back.
  await new Promise((resolve) => setTimeout(resolve, 200));
  client.close();
  return exitCode;
}
