// SPDX-License-Identifier: Apache-2.0
// Runs inside the test's pods, from a ConfigMap: it may import nothing but Node's own modules and its neighbours.
// Serves on PORT_BASE: +0 HTTP, +1 HTTP again, +2 TCP echo, +3 UDP echo, +4 control (loopback only).
import dgram from "node:dgram";
import http from "node:http";
import net from "node:net";
import { dial } from "./dial.ts";
import { queryDns } from "./dns-query.ts";
import { reach } from "./reach.ts";

const base = Number(process.env.PORT_BASE ?? 8080);
const pod = process.env.POD_NAME ?? "unknown";
const node = process.env.NODE_NAME ?? "unknown";

/** Addresses from which a UDP payload with a token came, newest last. */
const seen: { token: string; peer: string }[] = [];

const plain = (address = ""): string => address.replace(/^::ffff:(?=\d+\.)/, "");

function sendJson(response: http.ServerResponse, body: unknown, status = 200): void {
  const text = JSON.stringify(body);
  response.writeHead(status, {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(text),
  });
  response.end(text);
}

function sendBytes(response: http.ServerResponse, size: number): void {
  const chunk = Buffer.alloc(64 * 1024, "x");
  let left = Math.min(size, 1 << 30);
  response.writeHead(200, { "content-type": "application/octet-stream", "content-length": left });
  const push = (): void => {
    while (left > 0) {
      const part = chunk.subarray(0, left);
      left -= part.length;
      if (!response.write(part)) return void response.once("drain", push);
    }
    response.end();
  };
  push();
}

function serveHttp(request: http.IncomingMessage, response: http.ServerResponse): void {
  const url = new URL(request.url ?? "/", "http://echo");
  if (url.pathname === "/bytes") {
    sendBytes(response, Number(url.searchParams.get("size") ?? 0));
    return;
  }
  let bytes = 0;
  request.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
  });
  request.on("end", () => {
    const { remoteAddress, remotePort, localAddress, localPort } = request.socket;
    const client = plain(remoteAddress);
    const local = plain(localAddress);
    const { method, headers } = request;
    sendJson(response, {
      pod,
      node,
      client,
      clientPort: remotePort,
      local,
      localPort,
      method,
      bytes,
      headers,
    });
  });
}

interface Held {
  sent: number;
  received: number;
  errors: string[];
  close(): void;
}
const held = new Map<string, Held>();

/** Opens a TCP connection that stays: ten numbered messages a second, each answered, until asked for. */
function hold(host: string, port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const id = String(held.size + 1);
    const socket = net.connect({ host, port, noDelay: true });
    socket.setTimeout(10_000, () => socket.destroy(new Error("no data for 10 s")));
    const timer = setInterval(() => {
      if (socket.writableLength < 65536 && socket.write("12345678")) state.sent += 8;
    }, 100);
    const state: Held = { sent: 0, received: 0, errors: [], close: () => clearInterval(timer) };
    let banner = true;
    socket.once("connect", () => {
      held.set(id, state);
      resolve(id);
    });
    socket.on("data", (chunk: Buffer) => {
      const skip = banner ? chunk.indexOf(10) + 1 : 0;
      if (banner && skip === 0) return;
      banner = false;
      state.received += chunk.length - skip;
    });
    socket.on("error", (error) => {
      state.errors.push(error.message);
      reject(error);
    });
    socket.on("close", () => {
      clearInterval(timer);
      state.errors.push("closed");
    });
  });
}

async function control(url: URL): Promise<unknown> {
  const get = (name: string, fallback = ""): string => url.searchParams.get(name) ?? fallback;
  const timeoutMs = Number(get("timeoutMs", "2000"));
  const host = get("host");
  const port = Number(get("port"));
  switch (url.pathname) {
    case "/ready":
      return { pod, node };
    case "/dial": {
      const size = Number(get("size", "32"));
      const request = { protocol: get("protocol"), host, port, size, timeoutMs };
      return await dial({ ...request, token: get("token"), source: get("source") });
    }
    case "/reach":
      return { failures: await reach(JSON.parse(get("requests", "[]")), timeoutMs) };
    case "/dns":
      return await queryDns(get("server"), get("name"), get("type", "A"), get("transport", "udp"), timeoutMs);
    case "/seen":
      return { peers: seen.filter((entry) => entry.token === get("token")).map((entry) => entry.peer) };
    case "/hold":
      return { id: await hold(host, port) };
    case "/held": {
      const state = held.get(get("id"));
      if (state === undefined) throw new Error("no such connection");
      if (get("close") !== "") state.close();
      return { sent: state.sent, received: state.received, errors: state.errors };
    }
    default:
      throw new Error(`nothing at ${url.pathname}`);
  }
}

function serveControl(request: http.IncomingMessage, response: http.ServerResponse): void {
  control(new URL(request.url ?? "/", "http://control")).then(
    (body) => sendJson(response, body),
    (error: Error) => sendJson(response, { error: error.message || String(error) }, 502),
  );
}

function serveTcp(socket: net.Socket): void {
  socket.setNoDelay(true);
  socket.on("error", () => socket.destroy());
  socket.write(`${plain(socket.remoteAddress)} ${socket.remotePort} ${pod}\n`);
  socket.pipe(socket);
}

/** Listens on every address of both families, or on IPv4's when the machine has no IPv6. */
function listenEverywhere(
  listen: (host: string, onError: (error: NodeJS.ErrnoException) => void) => void,
): void {
  listen("::", (error) => {
    if (error.code !== "EAFNOSUPPORT" && error.code !== "EADDRNOTAVAIL") throw error;
    listen("0.0.0.0", (second) => {
      throw second;
    });
  });
}

function listenUdp(host: string, onError: (error: NodeJS.ErrnoException) => void): void {
  const socket = dgram.createSocket({ type: host === "::" ? "udp6" : "udp4", recvBufferSize: 1 << 20 });
  socket.once("error", onError);
  socket.on("message", (data, peer) => {
    const token = /^token-[0-9a-f]+(?=[.])/.exec(data.subarray(0, 64).toString("latin1"))?.[0];
    if (token !== undefined) seen.push({ token, peer: plain(peer.address) });
    if (seen.length > 1000) seen.shift();
    socket.send(
      [`${plain(peer.address)} ${peer.port} ${pod}\n`, data],
      peer.port,
      peer.address,
      () => undefined,
    );
  });
  socket.bind(base + 3, host);
}

for (const offset of [0, 1])
  listenEverywhere((host, onError) =>
    http
      .createServer(serveHttp)
      .once("error", onError)
      .listen(base + offset, host),
  );
listenEverywhere((host, onError) =>
  net
    .createServer(serveTcp)
    .once("error", onError)
    .listen(base + 2, host),
);
listenEverywhere(listenUdp);
http.createServer(serveControl).listen(base + 4, "127.0.0.1");
if (process.env.EXIT_WITH_STDIN !== undefined) process.stdin.on("end", () => process.exit(0)).resume();
for (const name of ["SIGTERM", "SIGINT"] as const) process.on(name, () => process.exit(0));
