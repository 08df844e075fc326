// SPDX-License-Identifier: Apache-2.0
import { createReadStream, existsSync } from "node:fs";
import { createInterface } from "node:readline";
import { addressBytes, type Cidr, cidrContains, parseCidr } from "../../lib/addresses.ts";
import type { Host } from "./host.ts";

interface Direction {
  src: string;
  dst: string;
  sport: number;
  dport: number;
}

/** One entry of the kernel's connection tracking. */
export interface TrackedConnection {
  protocol: string;
  /** Of TCP and SCTP. */
  state: string | undefined;
  assured: boolean;
  original: Direction;
  reply: Direction;
}

/** Reads a line of /proc/net/nf_conntrack or of `conntrack -L`; undefined for what has no addresses. */
export function parseConntrackLine(line: string): TrackedConnection | undefined {
  const all = (key: string): string[] =>
    [...line.matchAll(new RegExp(`\\b${key}=(\\S+)`, "g"))].map(([, value = ""]) => value);
  const values = { src: all("src"), dst: all("dst"), sport: all("sport"), dport: all("dport") };
  const protocol = /\b(tcp|udp|sctp|dccp|udplite|icmpv6|icmp)\b/.exec(line)?.[1];
  const direction = (at: number): Direction => ({
    src: values.src[at] ?? "",
    dst: values.dst[at] ?? "",
    sport: Number(values.sport[at] ?? 0),
    dport: Number(values.dport[at] ?? 0),
  });
  const [original, reply] = [direction(0), direction(1)];
  if (protocol === undefined || reply.src === "" || reply.dst === "") return undefined;
  const state = /\b([A-Z][A-Z_0-9]+) src=/.exec(line)?.[1];
  return { protocol, state, assured: line.includes("[ASSURED]"), original, reply };
}

/** Destinations that kube-proxy translates. */
export interface ServiceDestinations {
  serviceCIDRs: string[];
  /** `30000-32767` */
  nodePortRange: string;
  /** External and load balancer addresses. */
  externalIPs?: string[];
  /** Addresses and node ports of Services whose connections do not count. */
  except?: { addresses: string[]; nodePorts: number[] };
}

// What can still carry data; the others end by themselves in a minute or two.
const liveStates = new Set(["SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT"]);

/** Makes the test whether a connection is alive and goes to a Service by way of kube-proxy's DNAT. */
export function translatedBy(services: ServiceDestinations): (connection: TrackedConnection) => boolean {
  const cidrs = services.serviceCIDRs.map(parseCidr);
  const external = new Set(services.externalIPs ?? []);
  const [first = 30_000, last = 32_767] = services.nodePortRange.split("-").map(Number);
  const { addresses = [], nodePorts = [] } = services.except ?? {};
  const isService = (address: string, port: number): boolean =>
    !addresses.includes(address) &&
    !nodePorts.includes(port) &&
    ((port >= first && port <= last) || external.has(address) || contains(cidrs, address));
  return ({ protocol, state, assured, original, reply }) => {
    const isTranslated = original.dst !== reply.src || original.dport !== reply.sport;
    const isAlive = state === undefined ? assured && !protocol.startsWith("icmp") : liveStates.has(state);
    return isTranslated && isAlive && isService(original.dst, original.dport);
  };
}

function contains(cidrs: readonly Cidr[], address: string): boolean {
  try {
    const bytes = addressBytes(address);
    return cidrs.some(
      (cidr) => cidr.text.includes(":") === address.includes(":") && cidrContains(cidr, bytes),
    );
  } catch {
    return false;
  }
}

const table = "/proc/self/net/nf_conntrack";

/** Hands every tracked connection of this network to `visit`. */
export async function visitConnections(
  host: Host,
  visit: (connection: TrackedConnection) => void,
): Promise<void> {
  const each = (line: string): void => {
    const connection = parseConntrackLine(line);
    if (connection !== undefined) visit(connection);
  };
  if (existsSync(table)) {
    for await (const line of createInterface({ input: createReadStream(table) })) each(line);
    return;
  }
  for (const family of ["ipv4", "ipv6"]) {
    const { stdout } = await host.run("conntrack", ["-L", "-f", family]);
    for (const line of stdout.split("\n")) each(line);
  }
}
