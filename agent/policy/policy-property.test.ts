// SPDX-License-Identifier: Apache-2.0
// Random policies, judged three times: from the objects as they are written (by the model in this file, which shares
// nothing with the product), by decide(), and by the tables that the kernel would look up.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { addressBytes, cidrContains, parseCidr } from "../../lib/addresses.ts";
import { compile, namedPrefixes, type PortTable } from "./compile.ts";
import { type Connection, decide, type End } from "./decide.ts";
import type { Labels, Policy } from "./model.ts";
import { type Identity, PeerIndex } from "./peer-index.ts";
import { parsePolicy } from "./validate.ts";

const namespaces: Record<string, Record<string, string>> = {
  x: { ns: "x" },
  y: { ns: "y", team: "a" },
  z: {},
};
interface Pod {
  namespace: string;
  labels: Record<string, string>;
  address: string;
  ports: { name: string; port: number; protocol: number }[];
}
const pods: Pod[] = Object.keys(namespaces).flatMap((namespace, group) =>
  ["a", "b", "c"].map((pod, index) => ({
    namespace,
    labels: { pod, ...(index === 2 ? {} : { role: "web" }) } as Record<string, string>,
    address: `10.244.${group}.${index + 1}`,
    ports: [{ name: "serve", port: index === 0 ? 80 : 81, protocol: 6 }],
  })),
);
const outside = ["192.0.2.1", "192.0.2.130", "198.51.100.7", "2001:db8::1"];
const numbers: Record<string, number> = { TCP: 6, UDP: 17, SCTP: 132 };

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

type Who = Pod | string;
const isPod = (who: Who): who is Pod => typeof who !== "string";

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
  if (numbers[port.protocol ?? "TCP"] !== protocol) return false;
  if (port.port === undefined) return true;
  if (typeof port.port === "string")
    return (
      isPod(receiver) &&
      receiver.ports.some((one) => one.name === port.port && one.port === number && one.protocol === protocol)
    );
  return number >= port.port && number <= (port.endPort ?? port.port);
}

function modelAllows(
  objects: any[],
  subject: Pod,
  peer: Who,
  direction: "ingress" | "egress",
  protocol: number,
  port: number,
): boolean {
  const key = direction === "ingress" ? "Ingress" : "Egress";
  const about = objects.filter(({ metadata, spec }) => {
    const types = spec.policyTypes ?? ["Ingress", ...(spec.egress?.length > 0 ? ["Egress"] : [])];
    return (
      metadata.namespace === subject.namespace &&
      meets(spec.podSelector ?? {}, subject.labels) &&
      types.includes(key)
    );
  });
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

// What the product knows of the same pods.
function labelsOf({ namespace, labels }: Pod): Labels {
  return new Map([
    ["k8s:io.kubernetes.pod.namespace", namespace],
    ...Object.entries(labels).map(([key, value]): [string, string] => [`k8s:${key}`, value]),
    ...Object.entries(namespaces[namespace]!).map(([key, value]): [string, string] => [
      `k8s:io.cilium.k8s.namespace.labels.${key}`,
      value,
    ]),
  ]);
}
const worldLabels = (family: "ipv4" | "ipv6"): Labels =>
  new Map([
    ["reserved:world", ""],
    [`reserved:world-${family}`, ""],
  ]);
const endOf = (who: Who): End =>
  isPod(who)
    ? { labels: labelsOf(who), address: addressBytes(who.address), ports: who.ports }
    : { labels: worldLabels(who.includes(":") ? "ipv6" : "ipv4"), address: addressBytes(who), ports: [] };

/** The kernel's way: an identity by address, its table, and for pods the prefix where the first says "unless". */
class Lookups {
  readonly #policies: Policy[];
  readonly #peers: PeerIndex;
  readonly #numberOfPod = new Map<Pod, number>();
  readonly #prefixes: { identity: Identity; ofPods: boolean }[] = [];
  readonly #compiled = new Map<string, ReturnType<typeof compile>>();

  constructor(policies: Policy[]) {
    this.#policies = policies;
    for (const [index, pod] of pods.entries()) this.#numberOfPod.set(pod, 1000 + index);
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
      ...pods.map((pod, index) => ({ id: 1000 + index, labels: labelsOf(pod), ports: pod.ports })),
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
    const verdict = (id: number | undefined) =>
      id === undefined ? "unless" : look(compiled.tables.get(id) ?? compiled.everybody, protocol, port);
    if (!isPod(peer)) return verdict(this.#longest(peer, false)) === "allow";
    const first = verdict(this.#numberOfPod.get(peer));
    return (first === "unless" ? verdict(this.#longest(peer.address, true)) : first) === "allow";
  }

  #longest(address: string, ofPods: boolean): number | undefined {
    const bytes = addressBytes(address);
    return this.#prefixes
      .filter((one) => one.ofPods === ofPods && cidrContains(one.identity.cidr!, bytes))
      .toSorted((a, b) => b.identity.cidr!.prefix - a.identity.cidr!.prefix)[0]?.identity.id;
  }
}

const look = ({ ports, rest }: PortTable, protocol: number, port: number) =>
  (ports.find((one) => one.protocol === protocol && one.first <= port && port <= one.last) ?? rest).verdict;

// Random objects.
const label = fc.constantFrom(["pod", "a"], ["pod", "b"], ["pod", "c"], ["role", "web"]);
const requirement = fc.oneof(
  fc.record({
    key: fc.constantFrom("pod", "role"),
    operator: fc.constantFrom("In", "NotIn"),
    values: fc.constantFrom(["a"], ["b", "c"], ["web"]),
  }),
  fc.record({ key: fc.constantFrom("pod", "role"), operator: fc.constantFrom("Exists", "DoesNotExist") }),
);
const podSelector = fc.oneof(
  fc.constant({}),
  label.map(([key, value]) => ({ matchLabels: { [key!]: value } })),
  fc.array(requirement, { minLength: 1, maxLength: 2 }).map((matchExpressions) => ({ matchExpressions })),
);
const namespaceSelector = fc.oneof(
  fc.constant({}),
  fc.constantFrom(
    { matchLabels: { ns: "x" } },
    { matchLabels: { team: "a" } },
    { matchExpressions: [{ key: "ns", operator: "DoesNotExist" }] },
  ),
);
const ipBlock = fc.constantFrom(
  { cidr: "0.0.0.0/0" },
  { cidr: "::/0" },
  { cidr: "10.244.0.0/16", except: ["10.244.1.0/24"] },
  { cidr: "10.244.1.2/32" },
  { cidr: "192.0.2.0/24", except: ["192.0.2.128/25"] },
  { cidr: "192.0.2.128/25" },
  { cidr: "0.0.0.0/0", except: ["10.0.0.0/8", "192.0.2.0/24"] },
  { cidr: "2001:db8::/32", except: ["2001:db8::1/128"] },
);
const npPeer = fc.oneof(
  podSelector.map((one) => ({ podSelector: one })),
  namespaceSelector.map((one) => ({ namespaceSelector: one })),
  fc.record({ podSelector, namespaceSelector }),
  ipBlock.map((one) => ({ ipBlock: one })),
);
const npPort = fc.constantFrom<any>(
  { port: 80 },
  { port: 81, protocol: "TCP" },
  { port: 80, protocol: "UDP" },
  { port: 80, endPort: 81 },
  { port: "serve" },
  { protocol: "SCTP" },
  { protocol: "UDP" },
);
const npRule = (key: "from" | "to") =>
  fc.record(
    { [key]: fc.array(npPeer, { maxLength: 2 }), ports: fc.array(npPort, { maxLength: 2 }) },
    { requiredKeys: [] },
  );
const networkPolicy = fc
  .record({
    namespace: fc.constantFrom(...Object.keys(namespaces)),
    spec: fc.record(
      {
        podSelector,
        policyTypes: fc.constantFrom(["Ingress"], ["Egress"], ["Ingress", "Egress"]),
        ingress: fc.array(npRule("from"), { maxLength: 2 }),
        egress: fc.array(npRule("to"), { maxLength: 2 }),
      },
      { requiredKeys: ["podSelector"] },
    ),
  })
  .map(({ namespace, spec }) => ({
    ...{
      apiVersion: "networking.k8s.io/v1",
      kind: "NetworkPolicy",
      metadata: { name: "one", namespace },
      spec,
    },
  }));

const ciliumSelector = fc.oneof(
  podSelector,
  fc.constantFrom<any>(
    { matchLabels: { "k8s:io.kubernetes.pod.namespace": "y" } },
    { matchLabels: { "io.cilium.k8s.namespace.labels.ns": "x", "k8s:pod": "a" } },
    { matchExpressions: [{ key: "k8s:io.kubernetes.pod.namespace", operator: "In", values: ["x", "z"] }] },
  ),
);
const ciliumPeers = (way: "from" | "to") =>
  fc.oneof(
    fc.constant({}),
    fc.array(ciliumSelector, { maxLength: 2 }).map((one) => ({ [`${way}Endpoints`]: one })),
    fc
      .constantFrom(["all"], ["world"], ["cluster"], ["world-ipv6", "host"])
      .map((one) => ({ [`${way}Entities`]: one })),
    ipBlock.map((one) => ({ [`${way}CIDRSet`]: [one] })),
  );
const ciliumPorts = fc.constantFrom<any>(
  {},
  { toPorts: [{ ports: [{ port: "80", protocol: "TCP" }] }] },
  { toPorts: [{ ports: [{ port: "80" }, { port: "81", protocol: "UDP" }] }] },
  { toPorts: [{ ports: [{ port: "70", endPort: 80, protocol: "TCP" }] }] },
  { toPorts: [{ ports: [{ port: "serve", protocol: "TCP" }] }] },
  { toPorts: [{ ports: [{ port: "0", protocol: "ANY" }] }] },
);
const ciliumRules = (way: "from" | "to") =>
  fc.array(
    fc.tuple(ciliumPeers(way), ciliumPorts).map(([peers, ports]) => ({ ...peers, ...ports })),
    { maxLength: 2 },
  );
const ciliumPolicy = fc
  .record({
    namespace: fc.constantFrom(...Object.keys(namespaces)),
    isClusterwide: fc.boolean(),
    spec: fc.record(
      {
        endpointSelector: podSelector,
        ingress: ciliumRules("from"),
        ingressDeny: ciliumRules("from"),
        egress: ciliumRules("to"),
        egressDeny: ciliumRules("to"),
        enableDefaultDeny: fc.record({ ingress: fc.boolean(), egress: fc.boolean() }, { requiredKeys: [] }),
      },
      { requiredKeys: ["endpointSelector"] },
    ),
  })
  .map(({ namespace, isClusterwide, spec }) => ({
    apiVersion: "cilium.io/v2",
    kind: isClusterwide ? "CiliumClusterwideNetworkPolicy" : "CiliumNetworkPolicy",
    metadata: isClusterwide ? { name: "wide" } : { name: "one", namespace },
    spec,
  }));

function parsed(objects: readonly any[]): Policy[] {
  return objects.flatMap((object) => {
    const { policies, problems } = parsePolicy(object);
    assert.deepEqual(problems, []);
    return policies;
  });
}

function* connections(): Generator<[Connection, Pod, Who]> {
  for (const subject of pods)
    for (const peer of [...pods, ...outside])
      for (const direction of ["ingress", "egress"] as const)
        for (const [protocol, port] of [
          [6, 80],
          [6, 81],
          [17, 80],
          [132, 80],
          [6, 75],
          [1, 8],
        ] as const)
          yield [{ direction, subject: endOf(subject), peer: endOf(peer), protocol, port }, subject, peer];
}
const words = ({ direction, protocol, port }: Connection, subject: Pod, peer: Who): string =>
  `${direction} of ${subject.namespace}/${subject.labels.pod}, ${isPod(peer) ? `${peer.namespace}/${peer.labels.pod}` : peer}, protocol ${protocol} port ${port}`;

test("NetworkPolicies mean what their API reference says, in decide() and in the tables", () => {
  fc.assert(
    fc.property(fc.array(networkPolicy, { minLength: 1, maxLength: 3 }), (objects) => {
      const policies = parsed(objects);
      const lookups = new Lookups(policies);
      for (const [connection, subject, peer] of connections()) {
        const { direction, protocol, port } = connection;
        const expected = modelAllows(objects, subject, peer, direction, protocol, port);
        assert.equal(
          decide(policies, connection).verdict === "allowed",
          expected,
          words(connection, subject, peer),
        );
        assert.equal(
          lookups.allows(connection, subject, peer),
          expected,
          `tables: ${words(connection, subject, peer)}`,
        );
      }
    }),
    { numRuns: 300 },
  );
});

test("with Cilium's kinds too, tables say what decide() says", () => {
  fc.assert(
    fc.property(
      fc.array(fc.oneof(networkPolicy, ciliumPolicy), { minLength: 1, maxLength: 4 }),
      (objects) => {
        const policies = parsed(objects);
        const lookups = new Lookups(policies);
        for (const [connection, subject, peer] of connections())
          assert.equal(
            lookups.allows(connection, subject, peer),
            decide(policies, connection).verdict === "allowed",
            words(connection, subject, peer),
          );
      },
    ),
    { numRuns: 300 },
  );
});
