// SPDX-License-Identifier: Apache-2.0
import { parseArgs } from "node:util";
import { errorMessage, UsageError } from "../../../../lib/errors.ts";
import { exitCodeOf, runLeader } from "../controller-manager/run-leader.ts";
import { Scheduler } from "./scheduler.ts";

function parseFlags(argv: string[]) {
  try {
    const args = argv.map((word) => (word === "--leader-elect" ? "--leader-elect=true" : word));
    const { values } = parseArgs({
      args,
      options: {
        kubeconfig: { type: "string" },
        "leader-elect": { type: "string", default: "true" },
        v: { type: "string", default: "0" },
      },
    });
    return values;
  } catch (cause) {
    throw new UsageError(`scheduler: ${errorMessage(cause)}`);
  }
}

/** Runs the scheduler until a signal ends the process; exit code 1 when the leader's lease is lost. */
export const main = (argv: string[]): Promise<number> =>
  exitCodeOf(async () => {
    const flags = parseFlags(argv);
    if (flags.kubeconfig === undefined) throw new UsageError("scheduler: --kubeconfig is required");
    return await runLeader(
      {
        kubeconfig: flags.kubeconfig,
        logLevel: Number(flags.v) > 1 ? "debug" : "info",
        lease: flags["leader-elect"] === "true" ? "kube-scheduler" : undefined,
      },
      (client, log, signal) => new Scheduler(client, log).run(signal),
    );
  });
