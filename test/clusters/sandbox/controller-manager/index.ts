// SPDX-License-Identifier: Apache-2.0
import { errorMessage, ShuntError } from "../../../../lib/errors.ts";
import type { KubeClient } from "../../../../lib/kube.ts";
import { connectKube } from "../../../../lib/kube-connect.ts";
import { createLogger, type Logger } from "../../../../lib/log.ts";
import { controllerSetUps } from "./catalogue.ts";
import { Controllers } from "./controllers.ts";
import { type ManagerFlags, parseFlags } from "./flags.ts";
import { holdLease } from "./leader-election.ts";
import { clientSource } from "./service-account-clients.ts";

/** Runs the controllers until a signal ends the process; exit code 1 when the leader's lease is lost. */
export async function main(argv: string[]): Promise<number> {
  try {
    return await run(argv);
  } catch (error) {
    if (!(error instanceof ShuntError)) throw error;
    process.stderr.write(`${error.message}\n${error.remedy ?? ""}\n`);
    return error.exitCode;
  }
}

async function run(argv: string[]): Promise<number> {
  const flags = parseFlags(argv);
  const log = createLogger(undefined, flags.logLevel);
  const client = await connectKube({ kubeconfig: flags.kubeconfig });
  const stop = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => stop.abort());
  let exitCode = 0;
  const fail = (reason: string) => {
    log.error("stopping", { reason });
    exitCode = 1;
    stop.abort();
  };
  try {
    if (flags.leaderElect) await holdLease(client, "kube-controller-manager", log, stop.signal, fail);
    await runControllers(flags, client, log, stop.signal);
    await new Promise<void>((resolve) => {
      if (stop.signal.aborted) resolve();
      stop.signal.addEventListener("abort", () => resolve(), { once: true });
    });
  } catch (error) {
    if (!stop.signal.aborted) fail(errorMessage(error));
  }
  // Time to give the lease back.
  await new Promise((resolve) => setTimeout(resolve, 200));
  client.close();
  return exitCode;
}

/** Starts every controller; each begins to work once its caches are filled. Ends with the signal. */
export async function runControllers(
  flags: ManagerFlags,
  client: KubeClient,
  log: Logger,
  signal: AbortSignal,
): Promise<void> {
  const source = await clientSource(client, flags.useServiceAccountCredentials, log, signal);
  const controllers = new Controllers(flags, client, source, log, signal);
  for (const [name, setUp] of controllerSetUps)
    controllers.start(name, setUp).catch((error) => {
      if (!signal.aborted)
        log.error("controller not started", { controller: name, error: errorMessage(error) });
    });
}
