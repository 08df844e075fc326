// SPDX-License-Identifier: Apache-2.0
import { once } from "node:events";
import { ShuntError } from "../../../../lib/errors.ts";
import { createLogger } from "../../../../lib/log.ts";
import { parseOptions } from "./options.ts";
import { startApiServer } from "./start.ts";

/** Runs the small API server until SIGTERM or SIGINT; returns the exit code. */
export async function main(argv: string[]): Promise<number> {
  try {
    return await serve(argv);
  } catch (error) {
    if (!(error instanceof ShuntError)) throw error;
    const remedy = error.remedy === undefined ? "" : `\n${error.remedy}`;
    process.stderr.write(`apiserver: ${error.message}${remedy}\n`);
    return error.exitCode;
  }
}

async function serve(argv: string[]): Promise<number> {
  const log = createLogger().with({ part: "apiserver" });
  const server = await startApiServer(parseOptions(argv), log);
  const ended = new AbortController();
  const signals = ["SIGTERM", "SIGINT"].map((name) => once(process, name, { signal: ended.signal }));
  await Promise.race(signals);
  ended.abort();
  await Promise.allSettled(signals);
  await server.stop();
  return 0;
}
