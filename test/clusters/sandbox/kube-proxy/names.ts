// SPDX-License-Identifier: Apache-2.0
import { createHash } from "node:crypto";

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/** nft refuses longer names; kube-proxy cuts earlier, to leave room for its prefixes. */
const longestBaseName = 240;

/** RFC 4648 base32 without padding. */
export function base32(bytes: Uint8Array): string {
  let text = "";
  let value = 0;
  let bits = 0;
  for (const byte of bytes) {
    value = ((value & 0xff) << 8) | byte;
    for (bits += 8; bits >= 5; bits -= 5) text += alphabet[(value >>> (bits - 5)) & 31];
  }
  return bits === 0 ? text : text + alphabet[(value << (5 - bits)) & 31];
}

function hash(text: string, length: number): string {
  return base32(createHash("sha256").update(text).digest()).slice(0, length);
}

/** What identifies a port of a Service to kube-proxy: `namespace/name:port`, or `namespace/name`. */
export function servicePortName(namespace: string, name: string, port: string): string {
  return port === "" ? `${namespace}/${name}` : `${namespace}/${name}:${port}`;
}

/** Chains of a Service port in the iptables layout. The names are what tools and people recognize. */
export function iptablesChains(portName: string, protocol: string) {
  const id = hash(portName + protocol, 16);
  return {
    service: `KUBE-SVC-${id}`,
    local: `KUBE-SVL-${id}`,
    external: `KUBE-EXT-${id}`,
    firewall: `KUBE-FW-${id}`,
  };
}

/** Chain of one endpoint of a Service port; `endpoint` is `address:port`, an IPv6 address in brackets. */
export function iptablesEndpointChain(portName: string, protocol: string, endpoint: string): string {
  return `KUBE-SEP-${hash(portName + protocol + endpoint, 16)}`;
}

function hashed(name: string): string {
  const full = `${hash(name, 8)}-${name}`;
  return full.length > longestBaseName ? `${full.slice(0, longestBaseName - 3)}...` : full;
}

/** Chains of a Service port in the nftables layout. */
export function nftChains(namespace: string, name: string, protocol: string, port: string) {
  const base = hashed(`${namespace}/${name}/${protocol}/${port}`);
  return {
    service: `service-${base}`,
    local: `local-${base}`,
    external: `external-${base}`,
    firewall: `firewall-${base}`,
  };
}

/** Chain and affinity set of one endpoint in the nftables layout. */
export function nftEndpointNames(
  service: { namespace: string; name: string; protocol: string; portName: string },
  address: string,
  port: number,
): { chain: string; affinity: string } {
  const { namespace, name, protocol, portName } = service;
  const base = hashed(
    `${namespace}/${name}/${protocol}/${portName}__${address.replaceAll(":", ".")}/${port}`,
  );
  return { chain: `endpoint-${base}`, affinity: `affinity-${base}` };
}
