// SPDX-License-Identifier: Apache-2.0
import { main } from "./cli/main.ts";

const { env, stdout, stderr } = process;
delete env.NODE_COMPILE_CACHE; // the launcher's, for this process alone
const interrupt = new AbortController();
for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
  process.on(name, () => (interrupt.signal.aborted ? process.exit(130) : interrupt.abort(name)));
const { signal } = interrupt;
const cliEnv = {
  env,
  stdout,
  stderr,
  signal,
  /** Opened only by who reads it. */
  get stdin() {
    return process.stdin;
  },
};
const exitCode = await main(cliEnv, process.argv.slice(2));
// What was written to a pipe may still be on its way; connections that linger must not hold the program up.
stdout.write("", () => stderr.write("", () => process.exit(exitCode)));
