// SPDX-License-Identifier: Apache-2.0
// Runs inside the test's pods, from a ConfigMap: it may import nothing but Node's own modules.
import dgram from "node:dgram";
import net from "node:net";

export interface DialRequest {
  protocol: string;
  host: string;
  port: number;
  /** Bytes to send and to get back. */
  size: number;
  /** First bytes of what is sent, ending with a dot, so that the receiver can tell it from others. */
  token: string;
  /** Local address to send from; empty leaves it to the kernel. */
  source: string;
  timeoutMs: number;
}

export interface DialAnswer {
  /** First line of the answer: `peer port pod`, as the echo server wrote it. */
  peer: string;
  port: number;
  pod: string;
  /** Bytes that came back after that line. */
  bytes: number;
  /** They are the bytes that were sent. */
  intact: boolean;
  /** Address that the answer came from, as recvfrom or getpeername says. */
  from: string;
}

/** Sends a payload to an echo server and reads it back, over TCP or UDP. */
export async function dial(request: DialRequest): Promise<DialAnswer> {
  const fill = "0123456789abcdef".repeat(Math.ceil(request.size / 16));
  const payload = Buffer.from((request.token + fill).slice(0, Math.max(request.size, request.token.length)));
  const [data, from] = await (request.protocol === "udp" ? overUdp : overTcp)(request, payload);
  const line = data.indexOf(10);
  const [peer = "", port = "", pod = ""] = data.subarray(0, line).toString().split(" ");
  const echoed = data.subarray(line + 1);
  return { peer, port: Number(port), pod, bytes: echoed.length, intact: echoed.equals(payload), from };
}

function overUdp(request: DialRequest, payload: Buffer): Promise<[Buffer, string]> {
  return new Promise((resolve, reject) => {
    const socket = dgram.createSocket(net.isIPv6(request.host) ? "udp6" : "udp4");
    const send = (): void => socket.send(payload, request.port, request.host);
    const again = setInterval(send, Math.max(200, request.timeoutMs / 3));
    const timer = setTimeout(
      () => finish(new Error(`no answer in ${request.timeoutMs} ms`)),
      request.timeoutMs,
    );
    let ended = false;
    const finish = (error: Error | undefined, data?: Buffer, from?: string): void => {
      if (ended) return;
      ended = true;
      clearTimeout(timer);
      clearInterval(again);
      socket.close();
      error === undefined ? resolve([data!, from!]) : reject(error);
    };
    socket.on("error", finish);
    socket.on("message", (data, peer) => finish(undefined, data, peer.address));
    socket.bind({ address: request.source === "" ? undefined : request.source } as dgram.BindOptions, send);
  });
}

function overTcp(request: DialRequest, payload: Buffer): Promise<[Buffer, string]> {
  return new Promise((resolve, reject) => {
    let data = Buffer.alloc(0);
    const local = request.source === "" ? {} : { localAddress: request.source };
    const socket = net.connect({ host: request.host, port: request.port, ...local });
    const timer = setTimeout(
      () => socket.destroy(new Error(`no answer in ${request.timeoutMs} ms`)),
      request.timeoutMs,
    );
    socket.on("connect", () => socket.write(payload));
    socket.on("error", reject);
    socket.on("close", () => {
      clearTimeout(timer);
      reject(new Error("closed before everything came back"));
    });
    socket.on("data", (chunk: Buffer) => {
      data = Buffer.concat([data, chunk]);
      const line = data.indexOf(10);
      if (line < 0 || data.length < line + 1 + payload.length) return;
      resolve([data, socket.remoteAddress ?? ""]);
      socket.destroy();
    });
  });
}
