// SPDX-License-Identifier: Apache-2.0
import { main } from "../migrate/probes/main.ts";

const stop = new AbortController();
for (const name of ["SIGINT", "SIGTERM"] as const) process.on(name, () => stop.abort(name));
process.exit(await main(process.env, stop.signal));
