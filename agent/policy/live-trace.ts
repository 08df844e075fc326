// SPDX-License-Identifier: Apache-2.0
// What the kernel's maps say about a connection: the look-ups of bpf/lib/policy.h, one by one.
import { addressBytes, addressFamily, addressText, isAddress } from "../../lib/addresses.ts";
import type { Modes } from "../config.ts";
import {
  directions,
  endpointFlags,
  endpoint as endpointLayout,
  ipcacheEntry,
  ipcacheFlags,
  ipcacheKey,
  policyActions,
  policyEverybody,
  policyFlagBits,
  policyFlags,
  policyNetworkKey,
  policyPortKey,
  policyPrefixKey,
  policyPrefixKinds,
  policyTable,
  policyTableKey,
  policyVerdict,
} from "../datapath-layout.ts";
import { reservedIdentities } from "./entities.ts";
import type { Direction } from "./model.ts";
import type { PolicyMaps } from "./policy-table.ts";

interface ReadMap {
  get(key: Uint8Array): Uint8Array | undefined;
}

/** The maps that are looked into. */
export type TraceMaps = Record<keyof PolicyMaps | "endpoints" | "ipcache", ReadMap>;

export interface LiveQuestion {
  /** Number of the endpoint whose policies are asked. */
  endpoint: number;
  direction: Direction;
  /** 16 bytes. */
  peer: Uint8Array;
  protocol: number;
  /** The receiver's; for ICMP its type. */
  port: number;
}

/** What a first packet would meet. */
export interface LiveDecision {
  /** `audited`: denied, and let through. */
  verdict: "allowed" | "denied" | "audited";
  /** Whether any policy is about this direction. */
  judged: boolean;
  /** The peer's, as the maps have it; 0 when they do not know it. */
  identity: number;
  /** Number of the rule that decided; 0 when none did. */
  rule: number;
}

/** What an agent answers about a connection of one of its pods. */
export interface LiveTrace {
  mode: Modes["policy"];
  /** Absent: policies are off, or the pod has no interface of this agent. */
  decision?: Omit<LiveDecision, "rule"> & {
    /** The rule that decided, or the policy that isolates the pod; empty when none did. */
    rule: string;
  };
}

/** A connection by names, as it is asked for over HTTP. */
export interface TraceRequest extends Omit<LiveQuestion, "endpoint"> {
  /** namespace/name */
  pod: string;
}

/** Reads what was asked for. Returns undefined when it makes no sense. */
export function parseTraceRequest(query: URLSearchParams): TraceRequest | undefined {
  const pod = query.get("pod") ?? "";
  const direction = query.get("direction");
  const peer = query.get("peer") ?? "";
  const number = (name: string): number => {
    const text = query.get(name) ?? "";
    return /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
  };
  const [protocol, port] = [number("protocol"), number("port")];
  if (direction !== "ingress" && direction !== "egress") return undefined;
  if (pod === "" || !isAddress(peer) || !(protocol <= 255) || !(port <= 65_535)) return undefined;
  return { pod, direction, peer: addressBytes(peer), protocol, port };
}

const word = (value: Uint8Array | undefined): number | undefined =>
  value === undefined ? undefined : new DataView(value.buffer, value.byteOffset).getUint32(0, true);
const key32 = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer);
const wholeAddress = 128;

/** Asks the maps. */
export function traceMaps(maps: TraceMaps, question: LiveQuestion): LiveDecision {
  const { endpoint, direction, peer } = question;
  const identity = identityOf(maps, peer);
  const judgedBy = word(maps.policyOf.get(key32(endpoint))) ?? 0;
  const flag = direction === "ingress" ? policyFlags.POLICY_INGRESS : policyFlags.POLICY_EGRESS;
  if ((judgedBy & flag) === 0) return { verdict: "allowed", judged: false, identity, rule: 0 };
  let found = look(maps, judgedBy, identity, question, peer);
  if (found.action === policyActions.POLICY_UNLESS) {
    const prefix = prefixOf(maps, peer, policyPrefixKinds.POLICY_PREFIX_POD);
    if (prefix !== undefined) found = look(maps, judgedBy, prefix, question);
  }
  const denied = (judgedBy & policyFlags.POLICY_AUDIT) === 0 ? "denied" : "audited";
  const verdict = found.action === policyActions.POLICY_ALLOW ? "allowed" : denied;
  return { verdict, judged: true, identity, rule: found.rule };
}

/** identity_of() */
function identityOf(maps: TraceMaps, address: Uint8Array): number {
  const endpoint = maps.endpoints.get(address);
  if (endpoint !== undefined) {
    const { flags, identity } = endpointLayout.decode(endpoint);
    return (flags & endpointFlags.ENDPOINT_HOST) === 0 ? identity : reservedIdentities.host;
  }
  const entry = maps.ipcache.get(ipcacheKey.encode({ prefixLength: wholeAddress, address }));
  if (entry !== undefined) {
    const { flags, identity } = ipcacheEntry.decode(entry);
    if (identity !== 0 || (flags & (ipcacheFlags.IPCACHE_IN_CLUSTER | ipcacheFlags.IPCACHE_NODE)) !== 0)
      return identity;
  }
  return prefixOf(maps, address, policyPrefixKinds.POLICY_PREFIX_WORLD) ?? 0;
}

const isIpv4 = (address: Uint8Array): boolean => addressFamily(addressText(address)) === "ipv4";

function prefixOf(maps: TraceMaps, address: Uint8Array, kind: number): number | undefined {
  const family = isIpv4(address) ? 0 : policyPrefixKinds.POLICY_PREFIX_IPV6;
  const prefixLength = 32 + wholeAddress;
  return word(
    maps.policyPrefixes.get(policyPrefixKey.encode({ prefixLength, kind: kind | family, address })),
  );
}

/** action_of() */
function look(
  maps: TraceMaps,
  judgedBy: number,
  identity: number,
  { direction, protocol, port }: LiveQuestion,
  address?: Uint8Array,
): { action: number; rule: number } {
  const set = judgedBy >>> policyFlagBits;
  const way = direction === "ingress" ? directions.DIRECTION_INGRESS : directions.DIRECTION_EGRESS;
  const tableOf = (one: number) =>
    maps.policyTables.get(policyTableKey.encode({ set, identity: one, direction: way }));
  const ofIdentity = tableOf(identity) ?? tableOf(policyEverybody);
  if (ofIdentity === undefined) return { action: policyActions.POLICY_DENY, rule: 0 };
  const found = address === undefined ? ofIdentity : tableAt(maps, ofIdentity, address);
  const { table, lengths, rule, action } = policyTable.decode(found);
  for (let bits = 16; bits >= 0; bits--) {
    if ((lengths & (1 << bits)) === 0) continue;
    const first = port & (0xffff << (16 - bits)) & 0xffff;
    const verdict = maps.policyPorts.get(policyPortKey.encode({ table, port: first, bits, protocol }));
    if (verdict !== undefined) return policyVerdict.decode(verdict);
  }
  return { rule, action };
}

/** table_at() */
function tableAt(maps: TraceMaps, found: Uint8Array, address: Uint8Array): Uint8Array {
  const { table, networks } = policyTable.decode(found);
  if (networks === 0) return found;
  const prefixLength = 64 + wholeAddress;
  const ipVersion = isIpv4(address) ? 4 : 6;
  const key = policyNetworkKey.encode({ prefixLength, table, ipVersion, address });
  return maps.policyNetworks.get(key) ?? found;
}
