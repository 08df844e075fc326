// SPDX-License-Identifier: Apache-2.0
// From policies to what the kernel looks up: for an endpoint and each identity a table of ports.
import type { Cidr } from "../../lib/addresses.ts";
import { isNode, type NamedPort, policiesAbout } from "./decide.ts";
import type { Direction, Labels, Policy, PortMatch, Rule } from "./model.ts";
import { type Network, networksAt, networksOf } from "./networks.ts";
import type { Identity, PeerIndex } from "./peer-index.ts";
import { lastPort } from "./ports.ts";

/** `unless`: denied because nothing allows it, so that what allows addresses may still do so. */
export type Verdict = "allow" | "deny" | "unless";

/** Verdict for ports (ICMP: types) first to last of a protocol, and the rule that decided. */
export interface PortVerdict {
  protocol: number;
  first: number;
  last: number;
  verdict: Verdict;
  by: string;
}

/** What holds for one identity. Tables with the same contents are the same object. */
export interface PortTable {
  ports: readonly PortVerdict[];
  /** For every protocol and port that no entry covers. */
  rest: { verdict: Verdict; by: string };
  /** Addresses with another table: that of the longest network that holds one. None: undefined. */
  networks?: readonly { cidr: Cidr; table: PortTable }[];
}

export interface CompiledDirection {
  /** By identity; of those that are as everybody is, none. */
  tables: ReadonlyMap<number, PortTable>;
  /** For everybody else, also identities that are not known (yet). */
  everybody: PortTable;
  /** Prefixes that rules except: they are as everybody is. */
  excepts?: readonly string[];
}

/** One direction of an endpoint: undefined when no policy is about it. */
export function compile(
  policies: readonly Policy[],
  direction: Direction,
  subject: { labels: Labels; ports: readonly NamedPort[] },
  peers: PeerIndex,
): CompiledDirection | undefined {
  const about = policiesAbout(policies, subject).filter(
    ({ isolates, rules }) => isolates[direction] || rules.some((rule) => rule.direction === direction),
  );
  if (about.length === 0) return undefined;
  const rules = about.flatMap((policy) =>
    policy.rules.filter((rule) => rule.direction === direction).map((rule) => ({ policy, rule })),
  );
  const isolating = about.find((policy) => policy.isolates[direction]);
  const made = new Map<string, PortTable>();
  const networks = networksOf(rules.map(({ rule }) => rule));
  const tableFor = (
    matched: ReadonlySet<number>,
    identity: Identity | undefined,
    ownNode: boolean,
  ): PortTable => {
    const named = direction === "ingress" ? subject.ports : (identity?.ports ?? []);
    const plain = (more: readonly number[]): [key: string, table: PortTable] => {
      const all = [...new Set([...matched, ...more])].toSorted((a, b) => a - b);
      // Named ports are the only part of an identity that the rules do not say.
      const usesNames =
        direction === "egress" &&
        all.some((index) => rules[index]!.rule.ports?.some((port) => "name" in port) === true);
      const key = `${all.join()} ${ownNode} ${usesNames ? JSON.stringify(named) : ""}`;
      const placed = all.map((index) => rules[index]!);
      const table = made.get(key) ?? makeTable(placed, named, ownNode, isolating);
      made.set(key, table);
      return [key, table];
    };
    const { around, inside } = networksAt(networks, identity);
    const [key, base] = plain(around);
    if (inside.length === 0) return base;
    const keyInside = `${key} ${identity?.cidr?.text ?? ""}`;
    const table = made.get(keyInside) ?? withNetworks(base, inside, ({ rules }) => plain(rules)[1]);
    made.set(keyInside, table);
    return table;
  };
  // Rules in their order, for everybody and for each identity that one of them names.
  const forAll = new Set(rules.flatMap(({ rule }, index) => (rule.peers === undefined ? [index] : [])));
  const named = new Map<Identity, Set<number>>();
  const nodes = direction === "ingress" && !isNode(subject.labels) ? peers.ownNode : [];
  for (const identity of nodes) named.set(identity, new Set(forAll));
  for (const [index, { rule }] of rules.entries())
    for (const peer of rule.peers ?? [])
      for (const identity of peers.of(peer)) {
        const matched = named.get(identity) ?? new Set(forAll);
        named.set(identity, matched.add(index));
      }
  const everybody = tableFor(forAll, undefined, false);
  // A rule for everybody may name a port, which is another one for each peer.
  const hasNames =
    direction === "egress" &&
    [...forAll].some((index) => rules[index]!.rule.ports?.some((port) => "name" in port) === true);
  if (hasNames)
    for (const identity of peers.withPorts) if (!named.has(identity)) named.set(identity, new Set(forAll));
  const tables = new Map<number, PortTable>();
  for (const [identity, matched] of named)
    tables.set(identity.id, tableFor(matched, identity, nodes.includes(identity)));
  const excepts = rules.flatMap(({ rule: { peers = [] } }) =>
    peers.flatMap((peer) => (peer.kind === "cidr" ? peer.except.map(({ text }) => text) : [])),
  );
  return { tables, everybody, excepts: [...new Set(excepts)].toSorted() };
}

interface Placed {
  policy: Policy;
  rule: Rule;
}

type Span = Pick<PortVerdict, "protocol" | "first" | "last">;

/** Cuts each protocol's ports where a rule begins or ends, and judges every piece. */
function makeTable(
  rules: readonly Placed[],
  named: readonly NamedPort[],
  ownNode: boolean,
  isolating: Policy | undefined,
): PortTable {
  const spans = new Map<Placed, readonly Span[] | undefined>(
    rules.map((one) => [one, one.rule.ports?.flatMap((port) => spansOf(port, named))]),
  );
  const judge = (piece: Span | undefined) =>
    judgePiece(
      rules.filter((one) => {
        const all = spans.get(one);
        return all === undefined || (piece !== undefined && all.some((span) => covers(span, piece)));
      }),
      ownNode,
      isolating,
    );
  const rest = judge(undefined);
  const cuts = new Map<number, Set<number>>();
  for (const { protocol, first, last } of [...spans.values()].flatMap((all) => all ?? [])) {
    const places = cuts.get(protocol) ?? new Set([0]);
    cuts.set(protocol, places.add(first).add(last + 1));
  }
  const ports: PortVerdict[] = [];
  for (const [protocol, places] of [...cuts].toSorted(([a], [b]) => a - b)) {
    const starts = [...places].filter((place) => place <= lastPort).toSorted((a, b) => a - b);
    for (const [index, first] of starts.entries()) {
      const piece = { protocol, first, last: (starts[index + 1] ?? lastPort + 1) - 1 };
      const judged = judge(piece);
      const before = ports.at(-1);
      if (judged.verdict === rest.verdict && judged.by === rest.by) continue;
      if (
        before?.protocol === protocol &&
        before.last === first - 1 &&
        before.verdict === judged.verdict &&
        before.by === judged.by
      )
        before.last = piece.last;
      else ports.push({ ...piece, ...judged });
    }
  }
  return { ports, rest };
}

function spansOf(match: PortMatch, named: readonly NamedPort[]): Span[] {
  if ("first" in match) return [match];
  return named
    .filter(({ name, protocol }) => name === match.name && protocol === match.protocol)
    .map(({ protocol, port }) => ({ protocol, first: port, last: port }));
}

const covers = (outer: Span, piece: Span): boolean =>
  outer.protocol === piece.protocol && outer.first <= piece.first && piece.last <= outer.last;

/** `rules`: those that are about the piece, in the order of tiers and priorities. */
function judgePiece(
  rules: readonly Placed[],
  ownNode: boolean,
  isolating: Policy | undefined,
): { verdict: Verdict; by: string } {
  const said = ({ policy, rule }: Placed) => ({
    // What is passed by the last tier is allowed.
    verdict: rule.action === "deny" ? ("deny" as const) : ("allow" as const),
    by: `${policy.name} ${rule.at}`,
  });
  const admin = rules.find(({ policy }) => policy.tier === "admin");
  if (admin !== undefined && admin.rule.action !== "pass") return said(admin);
  const own = rules.filter(({ policy }) => policy.tier === "namespace");
  const found =
    own.find(({ rule }) => rule.action === "deny") ?? own.find(({ rule }) => rule.action === "allow");
  if (found !== undefined) return said(found);
  if (ownNode) return { verdict: "allow", by: "" };
  if (isolating !== undefined) return { verdict: "unless", by: isolating.name };
  const baseline = rules.find(({ policy }) => policy.tier === "baseline");
  return baseline === undefined ? { verdict: "allow", by: "" } : said(baseline);
}

/** A table with those of networks, without networks that change nothing. */
function withNetworks(
  base: PortTable,
  networks: readonly Network[],
  tableOf: (network: Network) => PortTable,
): PortTable {
  const tables = new Map<Network | undefined, PortTable>();
  const others: { cidr: Cidr; table: PortTable }[] = [];
  for (const network of networks) {
    const table = tableOf(network);
    tables.set(network, table);
    const outside = tables.get(network.around) ?? base;
    if (!isSame(table, outside)) others.push({ cidr: network.cidr, table });
  }
  return others.length === 0 ? base : { ...base, networks: others };
}

const isSame = (a: PortTable, b: PortTable): boolean => a === b || JSON.stringify(a) === JSON.stringify(b);

/** Every prefix that policies name, once each: of NetworkPolicies alone, those that also stand for pods. */
export function namedPrefixes(policies: readonly Policy[], only?: { ofPods: true }): Cidr[] {
  const found = new Map<string, Cidr>();
  for (const { rules } of policies)
    for (const { peers = [] } of rules)
      for (const peer of peers)
        if (peer.kind === "cidr" && (only === undefined || peer.ofPods))
          for (const cidr of [peer.cidr, ...peer.except]) found.set(cidr.text, cidr);
  return [...found.values()];
}
