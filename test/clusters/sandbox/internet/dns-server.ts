// SPDX-License-Identifier: Apache-2.0
import dgram from "node:dgram";
import { once } from "node:events";
import net from "node:net";
import * as dns from "dns-packet";

/** Names and their addresses of both families. */
export type Zone = Record<string, string[]>;

const ttlSeconds = 30;

/** Answers a query from the zone: addresses, `www.` aliases, NXDOMAIN with a start of authority for the rest. */
export function answerQuery(query: dns.Packet, zone: Zone): dns.Packet {
  const question = query.questions?.[0];
  const reply: dns.Packet = {
    type: "response",
    id: query.id,
    flags: dns.AUTHORITATIVE_ANSWER | ((query.flags ?? 0) & dns.RECURSION_DESIRED) | dns.RECURSION_AVAILABLE,
    questions: query.questions ?? [],
    answers: [],
    authorities: [],
  };
  if (question === undefined) return { ...reply, flags: reply.flags! | 1 };
  let name = question.name.toLowerCase().replace(/\.$/, "");
  if (name.startsWith("www.") && zone[name.slice(4)] !== undefined) {
    name = name.slice(4);
    reply.answers!.push({ type: "CNAME", name: question.name, ttl: ttlSeconds, data: name });
  }
  const addresses = zone[name];
  for (const address of addresses ?? []) {
    const type = address.includes(":") ? "AAAA" : "A";
    if (question.type === type || (question.type as string) === "ANY")
      reply.answers!.push({ type, name: reply.answers!.length > 0 ? name : question.name, ttl: ttlSeconds, data: address });
  }
  if (addresses === undefined) reply.flags! |= 3;
  if (reply.answers!.length === 0)
    reply.authorities!.push({
      type: "SOA",
      name: name.split(".").slice(-2).join(".") || ".",
      ttl: ttlSeconds,
      data: { mname: "ns.example", rname: "hostmaster.example", serial: 1, refresh: 3600, retry: 600, expire: 86400, minimum: ttlSeconds },
    });
  return reply;
}

/** Serves the zone on port 53 of an address, UDP and TCP. */
export async function startDns(address: string, zone: Zone): Promise<void> {
  const udp = dgram.createSocket(address.includes(":") ? "udp6" : "udp4");
  udp.on("message", (message, from) => {
    try {
      udp.send(dns.encode(answerQuery(dns.decode(message), zone)), from.port, from.address);
    } catch {
      // Not a DNS message: no answer, as other servers do.
    }
  });
  udp.bind(53, address);
  const tcp = net.createServer((socket) => {
    let pending: Buffer = Buffer.alloc(0);
    socket.setTimeout(10_000, () => socket.destroy());
    socket.on("error", () => socket.destroy());
    socket.on("data", (part) => {
      pending = Buffer.concat([pending, Buffer.from(part)]);
      try {
        while (pending.length >= 2 && pending.length >= 2 + pending.readUInt16BE(0)) {
          const end = 2 + pending.readUInt16BE(0);
          socket.write(dns.streamEncode(answerQuery(dns.decode(pending.subarray(2, end)), zone)));
          pending = pending.subarray(end);
        }
      } catch {
        socket.destroy();
      }
    });
  });
  tcp.listen(53, address);
  await Promise.all([once(udp, "listening"), once(tcp, "listening")]);
}
