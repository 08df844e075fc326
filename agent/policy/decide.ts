// SPDX-License-Identifier: Apache-2.0
// What policies say about one connection, judged from the objects alone.
import { cidrContains } from "../../lib/addresses.ts";
import type { Direction, Labels, Peer, Policy, PortMatch, Rule, Tier } from "./model.ts";
import { selects } from "./selector.ts";

export interface NamedPort {
  name: string;
  port: number;
  protocol: number;
}

/** One end of a connection. */
export interface End {
  labels: Labels;
  /** 16 bytes; what rules by CIDR look at. */
  address?: Uint8Array | undefined;
  ports: readonly NamedPort[];
}

export interface Connection {
  direction: Direction;
  /** Whose policies are asked: the receiver at ingress, the sender at egress. */
  subject: End;
  peer: End;
  protocol: number;
  /** Of the receiver; for ICMP its type. */
  port: number;
}

export interface Decision {
  verdict: "allowed" | "denied";
  /** What decided; undefined when no policy is about this end in this direction. */
  policy?: string;
  /** The rule, e.g. spec.ingress[0]; undefined when no rule allowed it. */
  rule?: string;
  tier?: Tier;
  /** In words. */
  reason: string;
}

export const isNode = (labels: Labels): boolean => labels.has("reserved:host");

/** Finds who is behind Services: whether one of them that is selected has this end as an endpoint. */
export type BehindService = (peer: Extract<Peer, { kind: "services" }>, end: End) => boolean;

/** The policies that are about an end, in the order in which they are asked. */
export function policiesAbout(policies: readonly Policy[], subject: End): Policy[] {
  const tiers: readonly Tier[] = ["admin", "namespace", "baseline"];
  const about = policies.filter(
    (policy) => policy.ofNodes === isNode(subject.labels) && selects(policy.subject, subject.labels),
  );
  if (about.every(({ isImplied }) => isImplied)) return [];
  return about.toSorted(
    (a, b) =>
      tiers.indexOf(a.tier) - tiers.indexOf(b.tier) ||
      a.priority - b.priority ||
      (a.name < b.name ? -1 : a.name > b.name ? 1 : 0),
  );
}

/** Judges a connection. */
export function decide(
  policies: readonly Policy[],
  connection: Connection,
  behindService: BehindService = () => false,
): Decision {
  const { direction, subject, peer } = connection;
  const about = policiesAbout(policies, subject);
  const find = (one: Policy, actions: readonly string[]): Rule | undefined =>
    one.rules.find((rule) => actions.includes(rule.action) && matches(rule, connection, behindService));
  const inOrder = (tier: Tier): Decision | undefined => {
    for (const one of about.filter((policy) => policy.tier === tier)) {
      const rule = find(one, ["allow", "deny", "pass"]);
      if (rule?.action === "pass" && tier !== "baseline") return undefined;
      if (rule !== undefined) return byRule(one, rule);
    }
    return undefined;
  };
  const admin = inOrder("admin");
  if (admin !== undefined) return admin;
  const own = about.filter(({ tier }) => tier === "namespace");
  for (const action of ["deny", "allow"])
    for (const one of own) {
      const rule = find(one, [action]);
      if (rule !== undefined) return byRule(one, rule);
    }
  if (direction === "ingress" && isNode(peer.labels) && !isNode(subject.labels))
    return { verdict: "allowed", reason: "a pod's own node always reaches it" };
  const isolating = own.find(({ isolates }) => isolates[direction]);
  if (isolating !== undefined)
    return {
      ...{ verdict: "denied", policy: isolating.name, tier: "namespace" },
      reason: `${isolating.name} isolates it at ${direction}, and nothing allows this`,
    };
  return inOrder("baseline") ?? { verdict: "allowed", reason: `no policy is about its ${direction}` };
}

/** What is passed by the last tier is allowed. */
function byRule({ name, tier }: Policy, { action, at }: Rule): Decision {
  const does = { allow: "allows", deny: "denies", pass: "passes" }[action];
  return {
    verdict: action === "deny" ? "denied" : "allowed",
    policy: name,
    rule: at,
    tier,
    reason: `${name} ${does} it by ${at}${action === "pass" ? ", and nothing comes after it" : ""}`,
  };
}

function matches(rule: Rule, connection: Connection, behindService: BehindService): boolean {
  if (rule.direction !== connection.direction) return false;
  if (rule.peers === undefined) return matchesPorts(rule, connection, true);
  return rule.peers.some(
    (peer) =>
      matchesPeer(peer, connection.peer, behindService) &&
      matchesPorts(rule, connection, peer.kind !== "cidr" && peer.kind !== "network"),
  );
}

/** `isKnown`: the peer is known by more than its address, so that its ports have names. */
function matchesPorts({ ports }: Rule, connection: Connection, isKnown: boolean): boolean {
  return ports?.some((port) => matchesPort(port, connection, isKnown)) ?? true;
}

function matchesPort(
  match: PortMatch,
  { direction, subject, peer, protocol, port }: Connection,
  isKnown: boolean,
): boolean {
  if (match.protocol !== protocol) return false;
  if ("first" in match) return match.first <= port && port <= match.last;
  const names = direction === "ingress" ? subject.ports : isKnown ? peer.ports : [];
  return names.some((one) => one.name === match.name && one.protocol === protocol && one.port === port);
}

function matchesPeer(match: Peer, peer: End, behindService: BehindService): boolean {
  if (match.kind === "labels") return selects(match.selector, peer.labels);
  if (match.kind === "services") return behindService(match, peer);
  const { address } = peer;
  if (match.kind === "network") return address !== undefined && cidrContains(match.cidr, address);
  if (address === undefined || !(match.ofPods || peer.labels.has("reserved:world"))) return false;
  return cidrContains(match.cidr, address) && !match.except.some((cidr) => cidrContains(cidr, address));
}
