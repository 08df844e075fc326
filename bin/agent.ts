// SPDX-License-Identifier: Apache-2.0
import { main } from "../agent/main.ts";

const stop = new AbortController();
for (const name of ["SIGINT", "SIGTERM"] as const) process.on(name, () => stop.abort(name));
const { env, stdout } = process;
process.exit(await main({ env, stdout, signal: stop.signal }, process.argv.slice(2)));
