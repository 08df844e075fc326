// SPDX-License-Identifier: Apache-2.0
import { parseArgs } from "node:util";
import { errorMessage, ShuntError, UsageError } from "../../../../lib/errors.ts";
import { connectKube } from "../../../../lib/kube-connect.ts";
import { createLogger } from "../../../../lib/log.ts";
import { holdLease } from "../controller-manager/leader-election.ts";
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
  if (flags.kubeconfig === undefined) throw new UsageError("scheduler: --kubeconfig is required");
  const log = createLogger(undefined, Number(flags.v) > 1 ? "debug" : "info");
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
    if (flags["leader-elect"] === "true") await holdLease(client, "kube-scheduler", log, stop.signal, fail);
    await new Scheduler(client, log).run(stop.signal);
  } catch (error) {
    if (!stop.signal.aborted) fail(errorMessage(error));
  }
  // Time to give the lease back.
  await new Promise((resolve) => setTimeout(resolve, 200));
  client.close();
  return exitCode;
}
