// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { createLogger } from "../../../../lib/log.ts";
import { outside } from "../plan.ts";
import { startDns } from "./dns-server.ts";
import { startEcho, startWeb } from "./servers.ts";

/** The world behind the cluster's switch: web, name and echo servers on documentation addresses. */
export async function main(argv: string[]): Promise<number> {
  const { values } = parseArgs({
    args: argv,
    options: { cert: { type: "string" }, key: { type: "string" } },
  });
  const log = createLogger();
  const tls = { cert: readFileSync(values.cert!), key: readFileSync(values.key!) };
  for (const [name, addresses] of Object.entries(outside.servers))
    for (const address of addresses) {
      await startWeb(name, address, tls);
      await startEcho(address);
    }
  for (const address of Object.values(outside.resolvers)) await startDns(address, outside.servers);
  log.info("the internet is up", { names: Object.keys(outside.servers) });
  return await new Promise(() => setInterval(() => {}, 1 << 30));
}
