// SPDX-License-Identifier: Apache-2.0
import dgram from "node:dgram";
import { once } from "node:events";
import net from "node:net";

export type Transport = "udp" | "tcp";

/** Answers one DNS message; undefined for no answer, as to what is no DNS message. */
export type DnsHandler = (query: Buffer, transport: Transport) => Promise<Buffer | undefined>;

const idleMs = 10_000;

/** Serves DNS on an address, UDP and TCP, until `close` is called. Returns the port (for port 0). */
export async function serveDns(
  address: string,
  port: number,
  handler: DnsHandler,
): Promise<{ port: number; close(): void }> {
  const udp = dgram.createSocket(address.includes(":") ? "udp6" : "udp4");
  udp.on("error", () => {});
  udp.on("message", (message, from) => {
    handler(message, "udp").then(
      (answer) => answer !== undefined && udp.send(answer, from.port, from.address),
      () => {},
    );
  });
  udp.bind(port, address);
  await once(udp, "listening");
  const bound = udp.address().port;
  const tcp = net.createServer((socket) => serveStream(socket, handler));
  tcp.listen(bound, address);
  await once(tcp, "listening");
  const close = () => {
    udp.close();
    tcp.close();
  };
  return { port: bound, close };
}

/** Messages of a TCP connection have their length before them (RFC 1035, 4.2.2). */
function serveStream(socket: net.Socket, handler: DnsHandler): void {
  let pending: Buffer = Buffer.alloc(0);
  socket.setTimeout(idleMs, () => socket.destroy());
  socket.on("error", () => socket.destroy());
  socket.on("data", async (part) => {
    pending = Buffer.concat([pending, part as Buffer]);
    while (pending.length >= 2 && pending.length >= 2 + pending.readUInt16BE(0)) {
      const end = 2 + pending.readUInt16BE(0);
      const query = pending.subarray(2, end);
      pending = pending.subarray(end);
      const answer = await handler(query, "tcp").catch(() => undefined);
      if (answer === undefined) return void socket.destroy();
      socket.write(withLength(answer));
    }
  });
}

function withLength(message: Buffer): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(message.length);
  return Buffer.concat([length, message]);
}

/** Asks another server and returns its answer as it came. Throws when it does not answer in time. */
export async function askDns(
  server: string,
  query: Buffer,
  transport: Transport,
  timeoutMs: number,
  port = 53,
): Promise<Buffer> {
  const signal = AbortSignal.timeout(timeoutMs);
  if (transport === "udp") {
    const socket = dgram.createSocket(server.includes(":") ? "udp6" : "udp4");
    try {
      socket.connect(port, server);
      await once(socket, "connect", { signal });
      socket.send(query);
      for (;;) {
        const [answer] = (await once(socket, "message", { signal })) as [Buffer];
        if (answer.length >= 12 && answer.readUInt16BE(0) === query.readUInt16BE(0)) return answer;
      }
    } finally {
      socket.close();
    }
  }
  const socket = net.connect(port, server);
  try {
    socket.write(withLength(query));
    let pending: Buffer = Buffer.alloc(0);
    while (pending.length < 2 || pending.length < 2 + pending.readUInt16BE(0)) {
      const [part] = (await once(socket, "data", { signal })) as [Buffer];
      pending = Buffer.concat([pending, part]);
    }
    return pending.subarray(2, 2 + pending.readUInt16BE(0));
  } finally {
    socket.destroy();
  }
}
