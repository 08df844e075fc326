// SPDX-License-Identifier: Apache-2.0
// From policies to what the kernel looks up: for an endpoint and each identity a table of ports.
import type { Cidr } from "../../lib/addresses.ts";
import { isNode, type NamedPort, policiesAbout } from "./decide.ts";
import type { Direction, Labels, Policy, PortMatch, Rule } from "./model.ts";
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
}

export interface CompiledDirection {
  /** By identity; of those that are as everybody is, none. */
  tables: ReadonlyMap<number, PortTable>;
  /** For everybody else, also identities that are not known (yet). */
  everybody: PortTable;
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
  const tableFor = (
    matched: readonly number[],
    identity: Identity | undefined,
    ownNode: boolean,
  ): PortTable => {
    const named = direction === "ingress" ? subject.ports : (identity?.ports ?? []);
    // Named ports are the only part of an identity that the rules do not say.
    const usesNames =
      direction === "egress" &&
      matched.some((index) => rules[index]!.rule.ports?.some((port) => "name" in port) === true);
    const key = `${matched.join()} ${ownNode} ${usesNames ? JSON.stringify(named) : ""}`;
    const known = made.get(key);
    if (known !== undefined) return known;
    const table = makeTable(
      matched.map((index) => rules[index]!),
      named,
      ownNode,
      isolating,
    );
    made.set(key, table);
    return table;
  };
  // Rules in their order, for everybody and for each identity that one of them names.
  const forAll = rules.flatMap(({ rule }, index) => (rule.peers === undefined ? [index] : []));
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
    forAll.some((index) => rules[index]!.rule.ports?.some((port) => "name" in port) === true);
  if (hasNames)
    for (const identity of peers.withPorts) if (!named.has(identity)) named.set(identity, new Set(forAll));
  const tables = new Map<number, PortTable>();
  for (const [identity, matched] of named) {
    const sorted = [...matched].sort((a, b) => a - b);
    tables.set(identity.id, tableFor(sorted, identity, nodes.includes(identity)));
  }
  return { tables, everybody };
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
