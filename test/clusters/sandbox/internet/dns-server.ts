// SPDX-License-Identifier: Apache-2.0
import * as dns from "dns-packet";
import { serveDns } from "../dns/serve.ts";

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
      reply.answers!.push({
        type,
        name: reply.answers!.length > 0 ? name : question.name,
        ttl: ttlSeconds,
        data: address,
      });
  }
  if (addresses === undefined) reply.flags! |= 3;
  if (reply.answers!.length === 0)
    reply.authorities!.push({
      type: "SOA",
      name: name.split(".").slice(-2).join(".") || ".",
      ttl: ttlSeconds,
      data: {
        mname: "ns.example",
        rname: "hostmaster.example",
        serial: 1,
        refresh: 3600,
        retry: 600,
        expire: 86400,
        minimum: ttlSeconds,
      },
    });
  return reply;
}

/** Serves the zone on port 53 of an address. */
export async function startDns(address: string, zone: Zone): Promise<void> {
  await serveDns(address, 53, async (query) => dns.encode(answerQuery(dns.decode(query), zone)));
}
