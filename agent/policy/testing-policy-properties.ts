// SPDX-License-Identifier: Apache-2.0
// What must hold for any policies: properties for tests, and for the bench that looks for counterexamples.
// Random policies are judged three times: from the objects as they are written (by the model in this file, which shares
// nothing with the product), by decide(), and by the tables that the kernel would look up.
import assert from "node:assert/strict";
import fc from "fast-check";
import { addressBytes, cidrContains, parseCidr } from "../../lib/addresses.ts";
import { compile, namedPrefixes, type PortTable } from "./compile.ts";
import { type Connection, decide } from "./decide.ts";
import { identityText } from "./identity.ts";
import type { Policy } from "./model.ts";
import { type Identity, PeerIndex } from "./peer-index.ts";
import { brokenPolicy } from "./testing-broken-policies.ts";
import {
  anyPolicies,
  clusterPolicies,
  connections,
  endOf,
  isPod,
  labelsOf,
  namespaces,
  networkPolicy,
  nodeLabels,
  nodes,
  type Pod,
  parsed,
  pods,
  protocolNumbers,
  type Who,
  words,
  worldLabels,
} from "./testing-policies.ts";
import { isPolicy, parsePolicy } from "./validate.ts";

// The model: NetworkPolicy by the words of its API reference.
const meets = (selector: any, labels: Record<string, string>): boolean =>
  Object.entries(selector.matchLabels ?? {}).every(([key, value]) => labels[key] === value) &&
  (selector.matchExpressions ?? []).every(({ key, operator, values = [] }: any) =>
    operator === "In"
      ? key in labels && values.includes(labels[key])
      : operator === "NotIn"
        ? !(key in labels && values.includes(labels[key]))
        : operator === "Exists"
          ? key in labels
          : !(key in labels),
  );

function modelPeer(peer: any, namespace: string, who: Who): boolean {
  if (peer.ipBlock !== undefined) {
    const bytes = addressBytes(isPod(who) ? who.address : who);
    const within = (text: string) => cidrContains(parseCidr(text), bytes);
    return within(peer.ipBlock.cidr) && !(peer.ipBlock.except ?? []).some(within);
  }
  if (!isPod(who)) return false;
  const rightNamespace =
    peer.namespaceSelector === undefined
      ? who.namespace === namespace
      : meets(peer.namespaceSelector, namespaces[who.namespace]!);
  return rightNamespace && (peer.podSelector === undefined || meets(peer.podSelector, who.labels));
}

function modelPort(port: any, protocol: number, number: number, receiver: Who): boolean {
  if (protocolNumbers[port.protocol ?? "TCP"] !== protocol) return false;
  if (port.port === undefined) return true;
  if (typeof port.port === "string")
    return (
      isPod(receiver) &&
      receiver.ports.some((one) => one.name === port.port && one.port === number && one.protocol === protocol)
    );
  return number >= port.port && number <= (port.endPort ?? port.port);
}

/** NetworkPolicies that isolate a pod. */
function modelIsolating(objects: any[], subject: Pod, direction: "ingress" | "egress"): any[] {
  const key = direction === "ingress" ? "Ingress" : "Egress";
  return objects.filter(({ metadata, spec }) => {
    const types = spec.policyTypes ?? ["Ingress", ...(spec.egress?.length > 0 ? ["Egress"] : [])];
    return (
      metadata.namespace === subject.namespace &&
      meets(spec.podSelector ?? {}, subject.labels) &&
      types.includes(key)
    );
  });
}

function modelAllows(
  objects: any[],
  subject: Pod,
  peer: Who,
  direction: "ingress" | "egress",
  protocol: number,
  port: number,
): boolean {
  const about = modelIsolating(objects, subject, direction);
  if (about.length === 0) return true;
  const receiver = direction === "ingress" ? subject : peer;
  return about.some(({ metadata, spec }) =>
    (spec[direction] ?? []).some((rule: any) => {
      const peers = rule[direction === "ingress" ? "from" : "to"] ?? [];
      const ports = rule.ports ?? [];
      // An address alone has no named ports, also where it is a pod's.
      const isNameless = (one: any) => one?.ipBlock !== undefined && direction === "egress";
      const rightPort = (one: any) =>
        ports.length === 0 ||
        ports.some(
          (match: any) =>
            !(typeof match.port === "string" && isNameless(one)) &&
            modelPort(match, protocol, port, receiver),
        );
      return peers.length === 0
        ? rightPort(undefined)
        : peers.some((one: any) => modelPeer(one, metadata.namespace, peer) && rightPort(one));
    }),
  );
}

/** What ClusterNetworkPolicies of a tier say, by the words of their API reference. */
function modelAction(
  objects: any[],
  tier: "Admin" | "Baseline",
  { direction, protocol, port }: Connection,
  subject: Pod,
  peer: Who,
): "Accept" | "Deny" | "Pass" | undefined {
  const holds = (networks: string[], who: Who): boolean =>
    networks.some((text) => cidrContains(parseCidr(text), addressBytes(isPod(who) ? who.address : who)));
  const isWithin = (one: any, who: Who): boolean =>
    one.networks !== undefined
      ? holds(one.networks, who)
      : isPod(who) &&
        meets(one.namespaces ?? one.pods.namespaceSelector ?? {}, namespaces[who.namespace]!) &&
        meets(one.pods?.podSelector ?? {}, who.labels);
  const receiver = direction === "ingress" ? subject : peer;
  const isTo = ({ destinationNamedPort, ...byProtocol }: any): boolean => {
    if (destinationNamedPort !== undefined)
      return modelPort({ port: destinationNamedPort }, protocol, port, receiver);
    const [[name, { destinationPort }]] = Object.entries<any>(byProtocol) as [[string, any]];
    const { number, range = { start: number, end: number } } = destinationPort;
    return protocolNumbers[name.toUpperCase()] === protocol && range.start <= port && port <= range.end;
  };
  return objects
    .filter(({ spec }) => spec.tier === tier && isWithin(spec.subject, subject))
    .toSorted((a, b) => a.spec.priority - b.spec.priority)
    .flatMap(({ spec }) => spec[direction] ?? [])
    .find(
      ({ from, to, protocols }) =>
        (from ?? to).some((one: any) => isWithin(one, peer)) && (protocols?.some(isTo) ?? true),
    )?.action;
}

/**
 * The kernel's way: an identity by address, its table, or that of a network that holds the address; for pods and nodes the prefix
 * where the first says "unless".
 */
class Lookups {
  readonly #policies: Policy[];
  readonly #peers: PeerIndex;
  readonly #numbers = new Map<Who, number>();
  readonly #prefixes: { identity: Identity; ofPods: boolean }[] = [];
  readonly #compiled = new Map<string, ReturnType<typeof compile>>();

  constructor(policies: Policy[]) {
    this.#policies = policies;
    const known = new Map<string, Identity>();
    for (const pod of pods) {
      const id = 1000 + known.size;
      const labels = labelsOf(pod);
      const one = known.get(identityText(labels)) ?? { id, labels, ports: pod.ports };
      known.set(identityText(labels), one);
      this.#numbers.set(pod, one.id);
    }
    this.#numbers.set(nodes.own, 1).set(nodes.other, 6);
    const world = [...namedPrefixes(policies), parseCidr("0.0.0.0/0"), parseCidr("::/0")];
    for (const [index, cidr] of world.entries())
      this.#prefixes.push({
        identity: { id: 5000 + index, labels: worldLabels(cidr.family), ports: [], cidr },
        ofPods: false,
      });
    for (const [index, cidr] of namedPrefixes(policies, { ofPods: true }).entries())
      this.#prefixes.push({
        identity: { id: 9000 + index, labels: new Map(), ports: [], cidr },
        ofPods: true,
      });
    this.#peers = new PeerIndex([
      ...known.values(),
      { id: 1, labels: nodeLabels.own, ports: [] },
      { id: 6, labels: nodeLabels.other, ports: [] },
      ...this.#prefixes.map(({ identity }) => identity),
    ]);
  }

  #compile(direction: "ingress" | "egress", subject: Pod): ReturnType<typeof compile> {
    const key = `${direction} ${subject.address}`;
    if (!this.#compiled.has(key))
      this.#compiled.set(key, compile(this.#policies, direction, endOf(subject), this.#peers));
    return this.#compiled.get(key);
  }

  allows({ direction, protocol, port }: Connection, subject: Pod, peer: Who): boolean {
    const compiled = this.#compile(direction, subject);
    if (compiled === undefined) return true;
    const address = isPod(peer) ? peer.address : peer;
    const tableOf = (id: number) => compiled.tables.get(id) ?? compiled.everybody;
    const number = this.#numbers.get(peer);
    const first = tableOf(number ?? this.#longest(address, false)!);
    const verdict = look(tableAt(first, address), protocol, port);
    if (verdict !== "unless" || number === undefined) return verdict === "allow";
    const prefix = this.#longest(address, true);
    return prefix !== undefined && look(tableOf(prefix), protocol, port) === "allow";
  }

  #longest(address: string, ofPods: boolean): number | undefined {
    const bytes = addressBytes(address);
    return this.#prefixes
      .filter((one) => one.ofPods === ofPods && cidrContains(one.identity.cidr!, bytes))
      .toSorted((a, b) => b.identity.cidr!.prefix - a.identity.cidr!.prefix)[0]?.identity.id;
  }
}

function tableAt(table: PortTable, address: string): PortTable {
  const bytes = addressBytes(address);
  const holding = (table.networks ?? []).filter(({ cidr }) => cidrContains(cidr, bytes));
  return holding.toSorted((a, b) => b.cidr.prefix - a.cidr.prefix)[0]?.table ?? table;
}

const look = ({ ports, rest }: PortTable, protocol: number, port: number) =>
  (ports.find((one) => one.protocol === protocol && one.first <= port && port <= one.last) ?? rest).verdict;

/** Says which way it is wrong: too much is worse than too little. */
function agree(where: string, isAllowed: boolean, expected: boolean, what: string): void {
  assert.equal(isAllowed, expected, `${where} ${isAllowed ? "WIDENS" : "narrows"} access: ${what}`);
}

/** NetworkPolicies mean what their API reference says, in decide() and in the tables. */
export const networkPolicyProperty = fc.property(
  fc.array(networkPolicy, { minLength: 1, maxLength: 3 }),
  (objects) => {
    const policies = parsed(objects);
    const lookups = new Lookups(policies);
    for (const [connection, subject, peer] of connections()) {
      const { direction, protocol, port } = connection;
      const expected = modelAllows(objects, subject, peer, direction, protocol, port);
      const what = words(connection, subject, peer);
      agree("decide()", decide(policies, connection).verdict === "allowed", expected, what);
      agree("compile()", lookups.allows(connection, subject, peer), expected, what);
    }
  },
);

/** ClusterNetworkPolicies go before and after NetworkPolicies as their API reference says, in decide() and in the tables. */
export const clusterPolicyProperty = fc.property(
  fc.array(networkPolicy, { maxLength: 2 }),
  clusterPolicies,
  (own, cluster) => {
    const policies = parsed([...own, ...cluster]);
    const lookups = new Lookups(policies);
    for (const [connection, subject, peer] of connections()) {
      const { direction, protocol, port } = connection;
      const action = (tier: "Admin" | "Baseline") => modelAction(cluster, tier, connection, subject, peer);
      const admin = action("Admin") ?? "Pass";
      const expected =
        admin !== "Pass"
          ? admin === "Accept"
          : modelIsolating(own, subject, direction).length > 0
            ? modelAllows(own, subject, peer, direction, protocol, port)
            : action("Baseline") !== "Deny";
      const what = words(connection, subject, peer);
      agree("decide()", decide(policies, connection).verdict === "allowed", expected, what);
      agree("compile()", lookups.allows(connection, subject, peer), expected, what);
    }
  },
);

/** With Cilium's kinds and admin's too, tables say what decide() says. */
export const everyKindProperty = fc.property(anyPolicies, (objects) => {
  const policies = parsed(objects);
  const lookups = new Lookups(policies);
  for (const [connection, subject, peer] of connections({ withNodes: true }))
    agree(
      "compile()",
      lookups.allows(connection, subject, peer),
      decide(policies, connection).verdict === "allowed",
      words(connection, subject, peer),
    );
});

const brokenLabels = new Map([
  ["k8s:io.kubernetes.pod.namespace", "x"],
  ["k8s:a", "b"],
]);
const brokenEnd = {
  labels: brokenLabels,
  ports: [{ name: "web", port: 80, protocol: 6 }],
  address: new Uint8Array(16),
};

/** Objects with odd parts are refused with reasons, or judged. `onUsed` hears of those that are. */
export const brokenPolicyProperty = (onUsed: () => void = () => undefined) =>
  fc.property(brokenPolicy, (object) => {
    if (!isPolicy(object)) return;
    const { policies, problems } = parsePolicy(object);
    assert.ok(policies.length === 0 || problems.length === 0, "used although there are problems");
    for (const { path, message } of problems) assert.ok(Array.isArray(path) && message.length > 0);
    const peers = new PeerIndex([{ id: 300, labels: brokenLabels, ports: brokenEnd.ports }]);
    for (const direction of ["ingress", "egress"] as const) {
      decide(policies, { direction, subject: brokenEnd, peer: brokenEnd, protocol: 6, port: 80 });
      compile(policies, direction, brokenEnd, peers);
    }
    if (policies.length > 0) onUsed();
  });
