// SPDX-License-Identifier: Apache-2.0
import { main } from "../test/conformance/index.ts";

const stop = new AbortController();
for (const name of ["SIGINT", "SIGTERM"] as const)
  process.on(name, () => (stop.signal.aborted ? process.exit(130) : stop.abort(name)));
const { stdout, stderr } = process;
process.exit(await main(process.argv.slice(2), { stdout, stderr, signal: stop.signal }));
