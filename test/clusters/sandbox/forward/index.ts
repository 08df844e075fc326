// SPDX-License-Identifier: Apache-2.0
import net from "node:net";
import { parseArgs } from "node:util";
import { createLogger } from "../../../../lib/log.ts";

/**
 * Passes connections of a listening socket, inherited as a descriptor, on to an address of this network
 * namespace: so a port on the machine's loopback leads to the API server. Runs until it is killed.
 */
export async function main(argv: string[]): Promise<number> {
  const { values } = parseArgs({
    args: argv,
    options: { fd: { type: "string" }, host: { type: "string" }, port: { type: "string" } },
  });
  const log = createLogger();
  const target = { host: values.host!, port: Number(values.port) };
  const server = net.createServer({ allowHalfOpen: true }, (client) => {
    const upstream = net.connect({ ...target, allowHalfOpen: true });
    client.pipe(upstream).pipe(client);
    client.on("error", () => upstream.destroy()).on("close", () => upstream.destroy());
    upstream.on("error", () => client.destroy()).on("close", () => client.destroy());
    client.setNoDelay(true);
    upstream.setNoDelay(true);
  });
  return await new Promise((resolve) => {
    server.on("error", (error) => {
      log.error("cannot listen", { error });
      resolve(1);
    });
    server.listen({ fd: Number(values.fd) }, () => log.info("forwarding", { target }));
  });
}
