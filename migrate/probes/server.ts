// SPDX-License-Identifier: Apache-2.0
import dgram from "node:dgram";
import { once } from "node:events";
import http from "node:http";
import net from "node:net";

export const ports = { http: 8080, stream: 8081, udp: 8082 };
/** Those of the probes in the nodes' own network. */
export const hostPorts = { http: 18_480, stream: 18_481, udp: 18_482 };

/** Who answers; sent with every answer. */
export interface Identity {
  node: string;
  uid: string;
}

/** What other probe pods talk to. While leaving it still answers, and says so. */
export class ProbeServer {
  readonly #identity: Identity;
  readonly #routes: Record<string, (rest: string) => unknown>;
  readonly #streams = new Set<net.Socket>();
  #isLeaving = false;
  isReady = false;

  /**
   * @param routes what other requests (`METHOD path`) are answered with, as JSON; a path that ends with a slash takes
   *   one more segment, and is handed that
   */
  constructor(identity: Identity, routes: Record<string, (rest: string) => unknown>) {
    this.#identity = identity;
    this.#routes = routes;
  }

  /** Listens on one address, or on all. Returns what stops it at once, connections and all. */
  async listen(at: typeof ports = ports, address = "::"): Promise<() => void> {
    const web = http.createServer((request, response) => this.#answer(request, response));
    const streams = net.createServer((socket) => this.#serveStream(socket));
    const udp = dgram.createSocket(address.includes(":") ? "udp6" : "udp4");
    udp.on("error", () => {});
    udp.on("message", (message, from) => {
      const answer = JSON.stringify({ ...this.#hello(), echo: message.toString("utf8").slice(0, 64) });
      udp.send(answer, from.port, from.address, () => {});
    });
    web.listen(at.http, address);
    streams.listen(at.stream, address);
    udp.bind(at.udp, address);
    await Promise.all([once(web, "listening"), once(streams, "listening"), once(udp, "listening")]);
    let isOpen = true;
    return () => {
      if (!isOpen) return;
      isOpen = false;
      web.close();
      streams.close();
      udp.close();
      for (const socket of this.#streams) socket.destroy();
    };
  }

  /** Tells every client to go elsewhere, and new ones too. */
  leave(): void {
    if (this.#isLeaving) return;
    this.#isLeaving = true;
    this.isReady = false;
    for (const socket of this.#streams) socket.write(`${JSON.stringify({ ...this.#hello(), bye: true })}\n`);
  }

  #hello() {
    return { ...this.#identity, leaving: this.#isLeaving };
  }

  #answer(request: http.IncomingMessage, response: http.ServerResponse): void {
    const name = `${request.method} ${request.url}`;
    const [folder, rest = ""] = /^(.*\/)([^/]+)$/.exec(name)?.slice(1) ?? [];
    const key = [name, folder].find((one) => one !== undefined && Object.hasOwn(this.#routes, one));
    const route = key === undefined ? undefined : this.#routes[key];
    const status = request.url === "/ready" && !this.isReady ? 503 : 200;
    const body = JSON.stringify(route === undefined ? this.#hello() : route(rest));
    response.writeHead(status, { "content-type": "application/json", connection: "close" });
    response.end(body);
  }

  /** Every line of a client is answered with its number and this side's own. */
  #serveStream(socket: net.Socket): void {
    this.#streams.add(socket);
    socket.setNoDelay(true);
    socket.on("error", () => socket.destroy());
    socket.on("close", () => this.#streams.delete(socket));
    socket.write(`${JSON.stringify({ ...this.#hello(), bye: this.#isLeaving })}\n`);
    let rest = "";
    let count = 0;
    socket.setEncoding("utf8");
    socket.on("data", (chunk: string) => {
      const lines = (rest + chunk).split("\n");
      rest = (lines.pop() ?? "").slice(-256);
      for (const line of lines) socket.write(`{"seq":${Number(line) || 0},"count":${++count}}\n`);
    });
  }
}
