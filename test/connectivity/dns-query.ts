// SPDX-License-Identifier: Apache-2.0
// Runs inside the test's pods, from a ConfigMap: it may import nothing but Node's own modules.
import dgram from "node:dgram";
import net from "node:net";

const types: Record<string, number> = { A: 1, CNAME: 5, AAAA: 28 };

export interface DnsAnswer {
  /** RCODE: 0 no error, 3 no such name. */
  rcode: number;
  /** Addresses in the answer section, of the type asked for. */
  addresses: string[];
}

/** Asks one server one question, over UDP or TCP, without the libc's resolver in between. */
export async function queryDns(
  server: string,
  name: string,
  type: string,
  transport: string,
  timeoutMs: number,
): Promise<DnsAnswer> {
  const id = 1 + Math.floor(Math.random() * 0xfffe);
  const question = encodeQuery(id, name, types[type] ?? 1);
  const ask = transport === "tcp" ? askTcp : askUdp;
  const answer = decodeAnswer(await ask(server, question, timeoutMs), types[type] ?? 1);
  if (answer.id !== id) throw new Error("the answer has another id than the question");
  return { rcode: answer.rcode, addresses: answer.addresses };
}

function encodeQuery(id: number, name: string, type: number): Buffer {
  const header = Buffer.alloc(12);
  header.writeUInt16BE(id, 0);
  header.writeUInt16BE(0x0100, 2); // recursion desired
  header.writeUInt16BE(1, 4);
  const labels = name.split(".").filter((label) => label !== "");
  const parts = labels.map((label) => Buffer.from([label.length, ...Buffer.from(label)]));
  const tail = Buffer.alloc(5);
  tail.writeUInt16BE(type, 1);
  tail.writeUInt16BE(1, 3); // class IN
  return Buffer.concat([header, ...parts, tail]);
}

function skipName(packet: Buffer, start: number): number {
  let offset = start;
  for (;;) {
    const length = packet.readUInt8(offset);
    if (length >= 0xc0) return offset + 2;
    if (length === 0) return offset + 1;
    offset += 1 + length;
  }
}

function decodeAnswer(packet: Buffer, wanted: number): DnsAnswer & { id: number } {
  let offset = 12;
  for (let left = packet.readUInt16BE(4); left > 0; left--) offset = skipName(packet, offset) + 4;
  const addresses: string[] = [];
  for (let left = packet.readUInt16BE(6); left > 0; left--) {
    offset = skipName(packet, offset);
    const type = packet.readUInt16BE(offset);
    const length = packet.readUInt16BE(offset + 8);
    const data = packet.subarray(offset + 10, offset + 10 + length);
    if (type === wanted && length === 4) addresses.push([...data].join("."));
    if (type === wanted && length === 16) addresses.push(sixText(data));
    offset += 10 + length;
  }
  return { id: packet.readUInt16BE(0), rcode: packet.readUInt16BE(2) & 15, addresses };
}

function sixText(data: Buffer): string {
  const groups = Array.from({ length: 8 }, (_, index) => data.readUInt16BE(index * 2).toString(16));
  return new URL(`http://[${groups.join(":")}]/`).hostname.slice(1, -1);
}

function askUdp(server: string, question: Buffer, timeoutMs: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = dgram.createSocket(net.isIPv6(server) ? "udp6" : "udp4");
    const timer = setTimeout(() => finish(new Error(`no answer in ${timeoutMs} ms`)), timeoutMs);
    let ended = false;
    const finish = (result: Error | Buffer): void => {
      if (ended) return;
      ended = true;
      clearTimeout(timer);
      socket.close();
      result instanceof Error ? reject(result) : resolve(result);
    };
    socket.on("error", finish).on("message", finish);
    socket.once("connect", () => socket.send(question));
    socket.connect(53, server);
  });
}

function askTcp(server: string, question: Buffer, timeoutMs: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const length = Buffer.alloc(2);
    length.writeUInt16BE(question.length);
    let got = Buffer.alloc(0);
    const socket = net.connect(53, server, () => socket.write(Buffer.concat([length, question])));
    socket.setTimeout(timeoutMs, () => socket.destroy(new Error(`no answer in ${timeoutMs} ms`)));
    socket.on("error", reject);
    socket.on("close", () => reject(new Error("closed without a whole answer")));
    socket.on("data", (chunk: Buffer) => {
      got = Buffer.concat([got, chunk]);
      if (got.length < 2 || got.length < 2 + got.readUInt16BE(0)) return;
      resolve(got.subarray(2, 2 + got.readUInt16BE(0)));
      socket.destroy();
    });
  });
}
