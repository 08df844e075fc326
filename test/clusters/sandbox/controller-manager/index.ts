// SPDX-License-Identifier: Apache-2.0
import { errorMessage } from "../../../../lib/errors.ts";
import type { KubeClient } from "../../../../lib/kube.ts";
import type { Logger } from "../../../../lib/log.ts";
import { controllerSetUps } from "./catalogue.ts";
import { Controllers } from "./controllers.ts";
import { type ManagerFlags, parseFlags } from "./flags.ts";
import { exitCodeOf, runLeader } from "./run-leader.ts";
import { clientSource } from "./service-account-clients.ts";

/** Runs the controllers until a signal ends the process; exit code 1 when the leader's lease is lost. */
export const main = (argv: string[]): Promise<number> =>
  exitCodeOf(async () => {
    const flags = parseFlags(argv);
    const { kubeconfig, logLevel } = flags;
    const lease = flags.leaderElect ? "kube-controller-manager" : undefined;
    return await runLeader({ kubeconfig, logLevel, lease }, async (client, log, signal) => {
      await runControllers(flags, client, log, signal);
      await new Promise<void>((resolve) => {
        if (signal.aborted) resolve();
        signal.addEventListener("abort", () => resolve(), { once: true });
      });
    });
  });

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
