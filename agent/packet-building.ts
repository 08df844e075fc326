// SPDX-License-Identifier: Apache-2.0
// Packets by named fields, for tests of the kernel programs, and back.
import { addressBytes, addressText } from "../lib/addresses.ts";

/** A packet's fields; what is left out gets a plain valid value. */
export interface PacketFields {
  sourceMac?: string;
  destinationMac?: string;
  source: string;
  destination: string;
  protocol?: "tcp" | "udp" | "icmp" | "sctp" | "other";
  sourcePort?: number;
  destinationPort?: number;
  /** TCP flag bits; default ACK (0x10). */
  tcpFlags?: number;
  /** Default echo request (8 or 128). */
  icmpType?: number;
  /** Echo identifier. */
  icmpId?: number;
  /** Quoted packet (IP header on) of an ICMP error. */
  quote?: Uint8Array;
  ttl?: number;
  /** IPv4 flags and fragment offset word. */
  fragment?: number;
  /** Bytes of IPv4 options (a multiple of four). */
  options?: number;
  /** Extension headers (raw) before the transport header, and the number of the first. */
  extensions?: { first: number; bytes: Uint8Array };
  etherType?: number;
  payload?: Uint8Array;
  /** Type of SCTP's first chunk; default INIT (1). */
  chunk?: number;
}

const protocolNumbers = { tcp: 6, udp: 17, icmp: 1, sctp: 132, other: 253 } as const;
const icmp6 = 58;

const macBytes = (text: string) => Uint8Array.from(text.split(":"), (part) => Number.parseInt(part, 16));

/** The internet checksum (RFC 1071) of some bytes: 0 over data that holds its right checksum. */
export function internetChecksum(data: Uint8Array): number {
  let sum = 0;
  for (let index = 0; index < data.length; index += 2) sum += (data[index]! << 8) | (data[index + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** CRC-32C (RFC 3385, bit by bit), as SCTP has it: over a packet whose checksum is zero. */
function crc32c(data: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of data) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return ~crc >>> 0;
}

function sctpChecksum(packet: Uint8Array): number {
  const copy = Buffer.from(packet);
  copy.writeUInt32LE(0, 8);
  return crc32c(copy);
}

function ipBytes(text: string): Uint8Array {
  const all = addressBytes(text);
  return text.includes(":") ? all : all.subarray(12);
}

function pseudoHeader(
  source: Uint8Array,
  destination: Uint8Array,
  protocol: number,
  length: number,
): Uint8Array {
  const tail =
    source.length === 4
      ? [0, protocol, length >> 8, length & 255]
      : [0, 0, length >> 8, length & 255, 0, 0, 0, protocol];
  return Uint8Array.from([...source, ...destination, ...tail]);
}

function transport(fields: PacketFields, v6: boolean): { number: number; data: Buffer } {
  const protocol = fields.protocol ?? "tcp";
  const payload = fields.payload ?? Buffer.from("shunt");
  const number = protocol === "icmp" && v6 ? icmp6 : protocolNumbers[protocol];
  const headerSize = { tcp: 20, udp: 8, icmp: 8, sctp: 16, other: 8 }[protocol];
  const data = Buffer.concat([Buffer.alloc(headerSize), fields.quote ?? payload]);
  let checksumAt = 2;
  if (protocol === "icmp") {
    data[0] = fields.icmpType ?? (v6 ? 128 : 8);
    if (fields.quote === undefined) data.writeUInt16BE(fields.icmpId ?? 77, 4);
  } else {
    data.writeUInt16BE(fields.sourcePort ?? 40000, 0);
    data.writeUInt16BE(fields.destinationPort ?? 80, 2);
    if (protocol === "other") return { number, data };
    if (protocol === "sctp") {
      data[12] = fields.chunk ?? 1;
      data.writeUInt32LE(sctpChecksum(data), 8);
      return { number, data };
    }
    checksumAt = protocol === "tcp" ? 16 : 6;
    if (protocol === "tcp") data.set([0x50, fields.tcpFlags ?? 0x10, 0xff, 0xff], 12);
    else data.writeUInt16BE(data.length, 4);
  }
  const pseudo = pseudoHeader(ipBytes(fields.source), ipBytes(fields.destination), number, data.length);
  const covered = protocol === "icmp" && !v6 ? data : Buffer.concat([pseudo, data]);
  data.writeUInt16BE(internetChecksum(covered), checksumAt);
  return { number, data };
}

/** The packet from its IP header on. */
export function buildIp(fields: PacketFields): Buffer {
  const v6 = fields.source.includes(":");
  const { number, data } = transport(fields, v6);
  if (v6) {
    const extensions = fields.extensions?.bytes ?? new Uint8Array();
    const header = Buffer.alloc(40);
    header[0] = 0x60;
    header.writeUInt16BE(data.length + extensions.length, 4);
    header[6] = fields.extensions?.first ?? number;
    header[7] = fields.ttl ?? 64;
    header.set(ipBytes(fields.source), 8);
    header.set(ipBytes(fields.destination), 24);
    return Buffer.concat([header, extensions, data]);
  }
  const header = Buffer.alloc(20 + (fields.options ?? 0), 1);
  header.fill(0, 0, 20);
  header[0] = 0x40 | (header.length / 4);
  header.writeUInt16BE(header.length + data.length, 2);
  header.writeUInt16BE(4321, 4);
  header.writeUInt16BE(fields.fragment ?? 0x4000, 6);
  header[8] = fields.ttl ?? 64;
  header[9] = number;
  header.set(ipBytes(fields.source), 12);
  header.set(ipBytes(fields.destination), 16);
  header.writeUInt16BE(internetChecksum(header), 10);
  return Buffer.concat([header, data]);
}

/** The whole Ethernet frame. */
export function buildPacket(fields: PacketFields): Buffer {
  const ethernet = Buffer.alloc(14);
  ethernet.set(macBytes(fields.destinationMac ?? "02:00:00:00:00:01"), 0);
  ethernet.set(macBytes(fields.sourceMac ?? "02:00:00:00:00:05"), 6);
  ethernet.writeUInt16BE(fields.etherType ?? (fields.source.includes(":") ? 0x86dd : 0x0800), 12);
  return Buffer.concat([ethernet, buildIp(fields)]);
}

/** What a packet holds, for comparison. */
export interface ReadPacket {
  sourceMac: string;
  destinationMac: string;
  source: string;
  destination: string;
  ttl: number;
  sourcePort: number;
  destinationPort: number;
  icmpId: number;
  /** Number of the transport protocol. */
  protocol: number;
  /** The transport header and what follows. */
  l4: Buffer;
  /** Every checksum is right. */
  checksumsRight: boolean;
}

/** Reads a frame built here (no extension headers) after a program has changed it. */
export function readPacket(frame: Uint8Array): ReadPacket {
  const buffer = Buffer.from(frame);
  const v6 = buffer.readUInt16BE(12) === 0x86dd;
  const ip = buffer.subarray(14);
  const headerSize = v6 ? 40 : (ip[0]! & 15) * 4;
  const source = v6 ? ip.subarray(8, 24) : ip.subarray(12, 16);
  const destination = v6 ? ip.subarray(24, 40) : ip.subarray(16, 20);
  const number = v6 ? ip[6]! : ip[9]!;
  const l4 = ip.subarray(headerSize);
  const pseudo = pseudoHeader(source, destination, number, l4.length);
  const l4Right =
    number === 132
      ? l4.readUInt32LE(8) === sctpChecksum(l4)
      : internetChecksum(number === 1 ? l4 : Buffer.concat([pseudo, l4])) === 0;
  const mac = (at: number) => buffer.toString("hex", at, at + 6).replace(/(..)(?=.)/g, "$1:");
  const text = (address: Uint8Array) => (v6 ? addressText(address) : address.join("."));
  return {
    sourceMac: mac(6),
    destinationMac: mac(0),
    source: text(source),
    destination: text(destination),
    ttl: v6 ? ip[7]! : ip[8]!,
    sourcePort: l4.readUInt16BE(0),
    destinationPort: l4.readUInt16BE(2),
    icmpId: l4.readUInt16BE(4),
    protocol: number,
    l4,
    checksumsRight: l4Right && (v6 || internetChecksum(ip.subarray(0, headerSize)) === 0),
  };
}
