// SPDX-License-Identifier: Apache-2.0
import { enableCompileCache } from "node:module";

enableCompileCache();
const { main } = await import("./cli/main.ts");
const { env, stdin, stdout, stderr } = process;
const interrupt = new AbortController();
for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
  process.on(name, () => (interrupt.signal.aborted ? process.exit(130) : interrupt.abort(name)));
const exitCode = await main({ env, stdin, stdout, stderr, signal: interrupt.signal }, process.argv.slice(2));
// What was written to a pipe may still be on its way; connections that linger must not hold the program up.
stdout.write("", () => stderr.write("", () => process.exit(exitCode)));
