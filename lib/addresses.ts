// SPDX-License-Identifier: Apache-2.0
import ipaddr from "ipaddr.js";
import { ShuntError } from "./errors.ts";

export type Family = "ipv4" | "ipv6";

export interface Cidr {
  family: Family;
  /** 16 bytes, network order, IPv4 mapped (RFC 4291, 2.5.5.2); host bits zero. */
  bytes: Uint8Array;
  /** Prefix length in the address's own family: 0–32 or 0–128. */
  prefix: number;
  /** Canonical text, for example 10.0.0.0/8. */
  text: string;
}

/** The usual form, read at once: clusters have a hundred thousand of them. Everything else is for the library. */
function dottedQuad(text: string): Uint8Array | undefined {
  const bytes = new Uint8Array(16);
  bytes[10] = bytes[11] = 0xff;
  let part = 12;
  let digits = 0;
  let value = 0;
  for (let index = 0; index <= text.length; index++) {
    const digit = text.charCodeAt(index) - 48;
    if (digit >= 0 && digit <= 9) {
      value = value * 10 + digit;
      if (++digits > 3 || value > 255 || (digits > 1 && value < 10)) return undefined;
    } else if (digits > 0 && part < 16 && (index === text.length || digit === -2)) {
      bytes[part++] = value;
      digits = value = 0;
    } else return undefined;
  }
  return part === 16 ? bytes : undefined;
}

/** Parses an address into 16 bytes, network order, IPv4 as ::ffff:a.b.c.d. Throws on anything else. */
export function addressBytes(text: string): Uint8Array {
  const quad = dottedQuad(text);
  if (quad !== undefined) return quad;
  let parsed: ipaddr.IPv4 | ipaddr.IPv6;
  try {
    if (/^\d/.test(text) && !text.includes(":") && !ipaddr.IPv4.isValidFourPartDecimal(text))
      throw new Error();
    parsed = ipaddr.parse(text);
  } catch (cause) {
    throw new ShuntError(`"${text}" is not an IP address`, { code: "BadAddress", cause });
  }
  const six =
    parsed.kind() === "ipv4" ? (parsed as ipaddr.IPv4).toIPv4MappedAddress() : (parsed as ipaddr.IPv6);
  return Uint8Array.from(six.toByteArray());
}

export function isAddress(text: unknown): text is string {
  if (typeof text !== "string") return false;
  try {
    addressBytes(text);
    return true;
  } catch {
    return false;
  }
}

/** The canonical text (RFC 5952) of 16 bytes; IPv4-mapped ones as dotted quads. */
export function addressText(bytes: Uint8Array): string {
  const six = new ipaddr.IPv6([...bytes]);
  return six.isIPv4MappedAddress() ? six.toIPv4Address().toString() : six.toRFC5952String();
}

export function addressFamily(text: string): Family {
  return isMapped(addressBytes(text)) ? "ipv4" : "ipv6";
}

function isMapped(bytes: Uint8Array): boolean {
  return bytes.subarray(0, 10).every((byte) => byte === 0) && bytes[10] === 0xff && bytes[11] === 0xff;
}

/** Parses `address/prefix`; host bits are cleared. */
export function parseCidr(text: string): Cidr {
  const [address, length, ...rest] = text.split("/");
  const bytes =
    address === undefined || length === undefined || rest.length > 0 ? undefined : addressBytes(address);
  const prefix = length !== undefined && /^\d{1,3}$/.test(length) ? Number(length) : -1;
  const family: Family = bytes !== undefined && isMapped(bytes) ? "ipv4" : "ipv6";
  const max = family === "ipv4" ? 32 : 128;
  if (bytes === undefined || prefix < 0 || prefix > max)
    throw new ShuntError(`"${text}" is not a CIDR (address/prefix)`, { code: "BadCidr" });
  const bits = prefix + (family === "ipv4" ? 96 : 0);
  for (let index = 0; index < 16; index++) {
    const keep = Math.min(8, Math.max(0, bits - index * 8));
    bytes[index] = bytes[index]! & (0xff << (8 - keep)) & 0xff;
  }
  return { family, bytes, prefix, text: `${addressText(bytes)}/${prefix}` };
}

/** The CIDR of one address as text: it has all its bits. */
export const hostPrefix = (address: string): string => `${address}/${address.includes(":") ? 128 : 32}`;

export function cidrContains(cidr: Cidr, address: Uint8Array): boolean {
  const bits = cidr.prefix + (cidr.family === "ipv4" ? 96 : 0);
  if (isMapped(address) !== (cidr.family === "ipv4")) return false;
  for (let index = 0; index * 8 < bits; index++) {
    const mask = (0xff << (8 - Math.min(8, bits - index * 8))) & 0xff;
    if (((address[index]! ^ cidr.bytes[index]!) & mask) !== 0) return false;
  }
  return true;
}

export function cidrsOverlap(a: Cidr, b: Cidr): boolean {
  return a.prefix <= b.prefix ? cidrContains(a, b.bytes) : cidrContains(b, a.bytes);
}

/** The address `offset` places after the network address. */
export function cidrAddress(cidr: Cidr, offset: number | bigint): Uint8Array {
  let value = BigInt(offset);
  const bytes = Uint8Array.from(cidr.bytes);
  for (let index = 15; index >= 0 && value > 0n; index--) {
    value += BigInt(bytes[index]!);
    bytes[index] = Number(value & 0xffn);
    value >>= 8n;
  }
  return bytes;
}

/** How many addresses it has. */
export function cidrSize(cidr: Cidr): bigint {
  return 1n << BigInt((cidr.family === "ipv4" ? 32 : 128) - cidr.prefix);
}

/** `address:port`, with brackets around IPv6 (RFC 3986). */
export function hostPort(address: string, port: number): string {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}
