// SPDX-License-Identifier: Apache-2.0
import dgram from "node:dgram";
import { once } from "node:events";
import http from "node:http";
import https from "node:https";
import net from "node:net";

/** Port of the UDP and TCP echo servers (RFC 862). */
export const echoPort = 7;

/**
 * A site: HTTP on 80 and HTTPS on 443. Every answer is JSON that tells which site was asked and from what
 * address; that is how a test sees whether a pod's address was masqueraded.
 */
export async function startWeb(
  site: string,
  address: string,
  tls: { cert: Buffer; key: Buffer },
): Promise<void> {
  const answer: http.RequestListener = (request, response) => {
    const client = request.socket.remoteAddress?.replace(/^::ffff:/, "");
    const { method, url, headers } = request;
    request.resume();
    request.on("end", () => {
      response.writeHead(200, { "content-type": "application/json" });
      response.end(`${JSON.stringify({ site, address, client, method, path: url, host: headers.host })}\n`);
    });
  };
  const plain = http.createServer({ keepAliveTimeout: 600_000 }, answer).listen(80, address);
  const secure = https.createServer({ ...tls, keepAliveTimeout: 600_000 }, answer).listen(443, address);
  await Promise.all([once(plain, "listening"), once(secure, "listening")]);
}

/** Sends back what it gets, by UDP and TCP. */
export async function startEcho(address: string): Promise<void> {
  const udp = dgram.createSocket(address.includes(":") ? "udp6" : "udp4");
  udp.on("message", (message, from) => udp.send(message, from.port, from.address));
  udp.bind(echoPort, address);
  const tcp = net.createServer((socket) => {
    socket.on("error", () => socket.destroy());
    socket.pipe(socket);
  });
  tcp.listen(echoPort, address);
  await Promise.all([once(udp, "listening"), once(tcp, "listening")]);
}
