// SPDX-License-Identifier: Apache-2.0
import * as dns from "dns-packet";
import { reverseAddress, type Zone } from "./zone.ts";

const ttlSeconds = 5;
const plainUdpBytes = 512;
const nameError = 3;

/** The cluster's own answer to a query; undefined when another server must be asked. */
export function answerFromZone(query: dns.Packet, zone: Zone): dns.Packet | undefined {
  const question = query.questions?.[0];
  if (question === undefined) return undefined;
  const name = question.name.toLowerCase().replace(/\.$/, "");
  const address = reverseAddress(name);
  if (address !== undefined) {
    const names = zone.pointers(address);
    const records = names?.map(
      (data): dns.Answer => ({ type: "PTR", name: question.name, ttl: ttlSeconds, data }),
    );
    return records === undefined ? undefined : reply(query, question.type === "PTR" ? records : [], zone);
  }
  if (!zone.covers(name)) return undefined;
  const found = zone.find(name);
  if (found === undefined) return reply(query, [], zone, nameError);
  if (found.alias !== undefined) {
    const alias: dns.Answer = { type: "CNAME", name: question.name, ttl: ttlSeconds, data: found.alias };
    const target = zone.find(found.alias)?.addresses ?? [];
    return reply(query, [alias, ...addressRecords(found.alias, target, question.type)], zone);
  }
  if (question.type !== "SRV")
    return reply(query, addressRecords(question.name, found.addresses, question.type), zone);
  const records = found.services.map(
    ({ port, target }): dns.Answer => ({
      type: "SRV",
      name: question.name,
      ttl: ttlSeconds,
      data: { port, target, priority: 0, weight: 100 },
    }),
  );
  const additionals = found.services.flatMap(({ target }) =>
    ["A", "AAAA"].flatMap((type) => addressRecords(target, zone.find(target)?.addresses ?? [], type)),
  );
  return { ...reply(query, records, zone), additionals };
}

function addressRecords(name: string, addresses: readonly string[], type: string): dns.Answer[] {
  if (type !== "A" && type !== "AAAA") return [];
  const wanted = addresses.filter((address) => address.includes(":") === (type === "AAAA"));
  // Clients take the first: spread them.
  const start = wanted.length === 0 ? 0 : Math.floor(Math.random() * wanted.length);
  const turned = [...wanted.slice(start), ...wanted.slice(0, start)];
  return turned.map((data) => ({ type, name, ttl: ttlSeconds, data }));
}

function reply(query: dns.Packet, answers: dns.Answer[], zone: Zone, code = 0): dns.Packet {
  const authority: dns.Answer = {
    type: "SOA",
    name: zone.domain,
    ttl: ttlSeconds,
    data: {
      mname: `ns.dns.${zone.domain}`,
      rname: `hostmaster.${zone.domain}`,
      serial: 1,
      refresh: 7200,
      retry: 1800,
      expire: 86400,
      minimum: ttlSeconds,
    },
  };
  return {
    type: "response",
    id: query.id ?? 0,
    flags:
      dns.AUTHORITATIVE_ANSWER |
      ((query.flags ?? 0) & dns.RECURSION_DESIRED) |
      dns.RECURSION_AVAILABLE |
      code,
    questions: query.questions ?? [],
    answers,
    authorities: answers.length === 0 ? [authority] : [],
  };
}

/** A failure without data: SERVFAIL is 2, a broken query 1. */
export function failure(query: dns.Packet, code: number): dns.Packet {
  const flags = ((query.flags ?? 0) & dns.RECURSION_DESIRED) | dns.RECURSION_AVAILABLE | code;
  return { type: "response", id: query.id ?? 0, flags, questions: query.questions ?? [] };
}

/** Encodes an answer; one too long for the asker's UDP is cut off and marked, so that it asks by TCP. */
export function encodeAnswer(answer: dns.Packet, query: dns.Packet, transport: "udp" | "tcp"): Buffer {
  const message = dns.encode(answer);
  const option = query.additionals?.find((record) => record.type === "OPT") as dns.OptAnswer | undefined;
  const limit = Math.max(plainUdpBytes, option?.udpPayloadSize ?? 0);
  if (transport === "tcp" || message.length <= limit) return message;
  const { additionals: _, ...bare } = answer;
  return dns.encode({ ...bare, answers: [], flags: (answer.flags ?? 0) | dns.TRUNCATED_RESPONSE });
}
