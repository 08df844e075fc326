// SPDX-License-Identifier: Apache-2.0
// What policies deny on a node, or would deny while they are only audited.
import { addressText } from "../../lib/addresses.ts";
import { directions, policyDenial, policyDenialKey, policyFlags } from "../datapath-layout.ts";
import { reservedIdentities } from "./entities.ts";
import type { Labels } from "./model.ts";
import { labelKeys } from "./selector.ts";

/** One kind of connection that is denied: the same pod, direction, peer and port. */
export interface DenialView {
  /** namespace/name of the pod whose policies say so. */
  pod: string;
  /** Egress: the pod opens the connection; ingress: its peer does. */
  direction: "ingress" | "egress";
  peer: {
    address: string;
    /** Its number as policies know it; 0 when nobody had told of it yet. */
    identity: number;
    /** namespace/name of a pod, node:NAME, what pods of its labels are called, or the name of a reserved identity such as world. */
    name: string;
  };
  /** The receiver's, e.g. 8080/TCP or 8/ICMP. */
  port: string;
  /** `audited`: it was let through all the same. */
  verdict: "denied" | "audited";
  /** Packets that were judged so: of an audited connection its first one, of a denied one each. */
  packets: number;
  /** When the last of them came. */
  lastSeen: string;
  /** The rule that denies it, or the policy that isolates the pod while nothing allows it. */
  rule: string;
}

/** What the reader asks the rest of the agent. */
export interface DenialSources {
  /** Name of the pod with that endpoint, and the word that it is judged by now. */
  endpoint(id: number): { pod: string; word: number } | undefined;
  /** Name of the pod or node with that address. */
  nameAt(address: string): string | undefined;
  /** The labels of an identity. */
  labelsOf(identity: number): Labels | undefined;
  ruleText(rule: number): string;
}

const protocolNames: Record<number, string> = { 1: "ICMP", 6: "TCP", 17: "UDP", 58: "ICMPv6", 132: "SCTP" };
const reservedNames = new Map<number, string>(
  Object.entries(reservedIdentities).map(([name, id]) => [id, name]),
);

/** What policies that are in force now deny, the latest first. `map`: sh_policy_denials. */
export function readDenials(
  map: { entries(): [key: Uint8Array, value: Uint8Array][] },
  sources: DenialSources,
): DenialView[] {
  const { endpoint, ruleText } = sources;
  const now = Date.now();
  const nowNs = process.hrtime.bigint();
  const found: (DenialView & { lastSeenNs: bigint })[] = [];
  for (const [keyBytes, valueBytes] of map.entries()) {
    const {
      peer,
      endpoint: id,
      identity,
      word,
      direction,
      protocol,
      port,
    } = policyDenialKey.decode(keyBytes);
    const own = endpoint(id);
    // What earlier policies denied says nothing about those of now: connections are judged anew when they change.
    if (own?.word !== word) continue;
    const { packets, lastSeenNs, rule } = policyDenial.decode(valueBytes);
    const address = addressText(peer);
    found.push({
      pod: own.pod,
      direction: direction === directions.DIRECTION_EGRESS ? "egress" : "ingress",
      peer: { address, identity, name: peerName(address, identity, sources) },
      port: `${port}/${protocolNames[protocol] ?? protocol}`,
      verdict: (word & policyFlags.POLICY_AUDIT) === 0 ? "denied" : "audited",
      packets: Number(packets),
      lastSeen: new Date(now - Number((nowNs - lastSeenNs) / 1_000_000n)).toISOString(),
      rule: ruleText(rule),
      lastSeenNs,
    });
  }
  return found
    .toSorted((a, b) => Number(b.lastSeenNs - a.lastSeenNs))
    .map(({ lastSeenNs: _, ...view }) => view);
}

/** Forgets what was denied from or to these addresses. */
export function forgetDenials(
  map: { keys(): Iterable<Uint8Array>; deleteMany(keys: readonly Uint8Array[]): void },
  peers: ReadonlySet<string>,
): void {
  map.deleteMany([...map.keys()].filter((key) => peers.has(addressText(policyDenialKey.decode(key).peer))));
}

function peerName(address: string, identity: number, { nameAt, labelsOf }: DenialSources): string {
  const known = nameAt(address) ?? reservedNames.get(identity);
  if (known !== undefined) return known;
  const labels = labelsOf(identity);
  if (labels === undefined) return `identity ${identity}`;
  const own = [...labels]
    .filter(([key]) => key.startsWith("k8s:") && !key.startsWith("k8s:io."))
    .map(([key, value]) => `${key.slice("k8s:".length)}=${value}`);
  return `${labels.get(labelKeys.namespace) ?? ""}/{${own.join(",")}}`;
}

/** One line for people, e.g. "shop/web, ingress from shop/cart (10.0.1.4), port 8080/TCP". */
export function denialText({ pod, direction, peer, port }: DenialView): string {
  return `${pod}, ${direction} ${direction === "ingress" ? "from" : "to"} ${peer.name} (${peer.address}), port ${port}`;
}
