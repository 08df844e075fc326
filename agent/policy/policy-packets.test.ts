// SPDX-License-Identifier: Apache-2.0
// Random policies in the kernel's maps: what becomes of packets is what decide() says.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import fc from "fast-check";
import { addressBytes, parseCidr } from "../../lib/addresses.ts";
import { run } from "../../lib/run.ts";
import * as layout from "../datapath-layout.ts";
import type { BpfMap, BpfObject } from "../libbpf.ts";
import { buildPacket, type PacketFields } from "../packet-building.ts";
import { verdicts } from "../packet-cases.ts";
import { loadFixture, makeTestNode, type PacketFixture, podMac } from "../packet-fixture.ts";
import { compile } from "./compile.ts";
import { type Connection, decide, type End } from "./decide.ts";
import { type DenialView, forgetDenials, readDenials } from "./denials.ts";
import { reservedIdentities } from "./entities.ts";
import { identityText } from "./identity.ts";
import { type LiveDecision, traceMaps } from "./live-trace.ts";
import type { Policy } from "./model.ts";
import { PeerIndex } from "./peer-index.ts";
import { type PolicyMap, type PolicyMaps, PolicyTable } from "./policy-table.ts";
import { PrefixNumbers } from "./prefix-numbers.ts";
import {
  anyPolicies,
  connections,
  endOf,
  isPod,
  labelsOf,
  nodeLabels,
  nodes,
  type Pod,
  parsed,
  pods,
  type Who,
  words,
} from "./testing-policies.ts";

const netns = `shtq${process.pid}`;
/** Pods of this node are those of the first namespace; their endpoint ids are their places in the list, from 1 on. */
const isLocal = ({ namespace }: Pod): boolean => namespace === "x";
const idOf = (pod: Pod): number => pods.indexOf(pod) + 1;
const nameOf = (pod: Pod): string => `${pod.namespace}/${pod.labels.pod}`;
/** Pods with the same labels have one. */
const identityOf = (pod: Pod): number =>
  1_000 + pods.findIndex((one) => identityText(labelsOf(one)) === identityText(labelsOf(pod)));
/** The fixture gives the first pod an address of this family too. */
const own6 = "fd10:244:0:1::5";
const remoteNode = reservedIdentities["remote-node"];
/** What a pod may talk to: pods here and elsewhere, two of them with the same labels, nodes, and the world. */
const places = {
  ...{ near: "10.244.0.2", far: "10.244.1.1", twin: "10.244.1.70", far6: "fd10:244:0:2::9" },
  /** In the pods' range, and nobody told whose it is. */
  unknown: "10.244.2.200",
  ...{ host: nodes.own, otherNode: nodes.other, world: "192.0.2.1", world6: "2001:db8::1" },
} as const;
type Place = keyof typeof places;
const tcpSyn = 0x02;
const tcpAck = 0x10;

/** A node with three pods: what they send goes through one program, what they get from other nodes through another. */
class PolicyNode {
  readonly #fixtures: Record<"pod" | "netdev", PacketFixture>;
  readonly #object: BpfObject;
  onWrite: (() => void) | undefined;
  #table: PolicyTable;
  #prefixes = new PrefixNumbers();
  #port = 1_024;
  #now = 0;

  constructor(pinFolder: string) {
    const load = (name: string) => loadFixture(name, netns, layout.configFlags.CONFIG_POLICY, { pinFolder });
    this.#fixtures = { pod: load("pod.bpf.o"), netdev: load("netdev.bpf.o") };
    this.#object = this.#fixtures.pod.object;
    const endpoints = this.#object.map(layout.maps.endpoints);
    endpoints.deleteMany(["10.244.1.1", "10.244.1.5", "10.244.1.6"].map(addressBytes));
    const node6 = layout.ipcacheEntry.encode({
      flags: layout.ipcacheFlags.IPCACHE_NODE,
      identity: remoteNode,
    });
    this.#object.map(layout.maps.ipcache).set(layout.ipcachePrefix(parseCidr(`${nodes.other}/32`)), node6);
    const { IPCACHE_TUNNEL, IPCACHE_IN_CLUSTER } = layout.ipcacheFlags;
    const place = { tunnelEndpoint: addressBytes("172.31.0.3"), flags: IPCACHE_TUNNEL | IPCACHE_IN_CLUSTER };
    const mac = Uint8Array.from(podMac.split(":"), (part) => Number.parseInt(part, 16));
    for (const pod of pods) {
      const identity = identityOf(pod);
      if (isLocal(pod))
        endpoints.set(
          addressBytes(pod.address),
          layout.endpoint.encode({ ifindex: 1, id: idOf(pod), identity, mac, hostMac: mac }),
        );
      else
        this.#object
          .map(layout.maps.ipcache)
          .set(
            layout.ipcachePrefix(parseCidr(`${pod.address}/32`)),
            layout.ipcacheEntry.encode({ ...place, identity }),
          );
    }
    const far6 = layout.ipcacheEntry.encode({ ...place, identity: identityOf(pods[3]!) });
    this.#object.map(layout.maps.ipcache).set(layout.ipcachePrefix(parseCidr(`${places.far6}/128`)), far6);
    this.#table = this.#openTable();
  }

  #openTable(): PolicyTable {
    const map = (name: keyof typeof layout.maps) => this.#object.map(layout.maps[name]);
    const maps = {
      policyOf: map("policyOf"),
      policyTables: map("policyTables"),
      policyPorts: map("policyPorts"),
      policyNetworks: map("policyNetworks"),
      policyPrefixes: map("policyPrefixes"),
    };
    const watched = Object.fromEntries(Object.entries(maps).map(([name, one]) => [name, this.#watched(one)]));
    return new PolicyTable(watched as unknown as PolicyMaps, () => this.#now);
  }

  /** A map of which each write is told to `onWrite`, if there is one, entry by entry. */
  #watched(map: BpfMap): PolicyMap {
    const set: PolicyMap["set"] = (key, value) => {
      map.set(key, value);
      this.onWrite?.();
    };
    return {
      ...{ capacity: map.capacity, set, keys: () => map.keys(), get: (key) => map.get(key) },
      setMany: (entries) => {
        if (this.onWrite === undefined) map.setMany(entries);
        else for (const [key, value] of entries) set(key, value);
      },
      deleteMany: (keys) => {
        for (const key of keys) {
          map.deleteMany([key]);
          this.onWrite?.();
        }
      },
    };
  }

  /** As a new agent finds the maps. */
  restart(): void {
    this.#table = this.#openTable();
    this.#prefixes = new PrefixNumbers(this.#table.prefixes);
  }

  apply(policies: readonly Policy[], audit = false): void {
    this.#prefixes.name(policies);
    const peers = new PeerIndex([
      ...pods
        .filter((pod) => identityOf(pod) === 1_000 + pods.indexOf(pod))
        .map((pod) => ({ id: identityOf(pod), labels: labelsOf(pod), ports: pod.ports })),
      { id: reservedIdentities.host, labels: nodeLabels.own, ports: [] },
      { id: remoteNode, labels: nodeLabels.other, ports: [] },
      ...this.#prefixes.peers,
    ]);
    const endpoints = new Map(
      pods.filter(isLocal).map((pod) => [
        idOf(pod),
        {
          ingress: compile(policies, "ingress", endOf(pod), peers),
          egress: compile(policies, "egress", endOf(pod), peers),
          audit,
        },
      ]),
    );
    this.#now += 10_000;
    this.#table.apply(endpoints, this.#prefixes.named);
    this.#prefixes.written();
  }

  /** A port that no connection of this test has had. */
  freshPort(): number {
    this.#port = this.#port >= 65_000 ? 1_024 : this.#port + 1;
    return this.#port;
  }

  /** Sends a packet from or to a pod of this node; whether it passes. */
  passes(packet: PacketFields, way: "egress" | "ingress"): boolean {
    const fixture = way === "egress" ? this.#fixtures.pod : this.#fixtures.netdev;
    const denied = () => this.counted(layout.reasons.DROP_POLICY_DENIED);
    const before = denied();
    const { verdict } = fixture.run(way === "egress" ? "from_pod" : "from_netdev", buildPacket(packet));
    const wasDenied = denied() > before;
    // What goes to the node itself goes up its own network.
    const passed = packet.destination === nodes.own ? verdicts.next : verdicts.redirect;
    assert.equal(verdict, wasDenied ? verdicts.drop : passed, JSON.stringify(packet));
    return !wasDenied;
  }

  /** Entries by map. */
  sizes(): Record<string, number> {
    const { policyTables, policyPorts, policyNetworks, policyPrefixes } = layout.maps;
    return Object.fromEntries(
      [policyTables, policyPorts, policyNetworks, policyPrefixes].map((name) => [
        name,
        this.#object.map(name).entries().length,
      ]),
    );
  }

  counted(reason: number): number {
    return [0, 1].reduce((sum, way) => sum + this.#fixtures.pod.counted(way, reason), 0);
  }

  /** What the maps say, at one end. */
  trace({ direction, protocol, port }: Connection, subject: Pod, peer: Who): LiveDecision {
    const map = (name: keyof typeof layout.maps) => this.#object.map(layout.maps[name]);
    const maps = {
      ...{ endpoints: map("endpoints"), ipcache: map("ipcache"), policyOf: map("policyOf") },
      ...{ policyTables: map("policyTables"), policyPorts: map("policyPorts") },
      ...{ policyNetworks: map("policyNetworks"), policyPrefixes: map("policyPrefixes") },
    };
    const question = { endpoint: idOf(subject), direction, protocol, port };
    return traceMaps(maps, { ...question, peer: addressBytes(isPod(peer) ? peer.address : peer) });
  }

  forgetDenials(peer: string): void {
    forgetDenials(this.#object.map(layout.maps.policyDenials), new Set([peer]));
  }

  denials(): DenialView[] {
    return readDenials(this.#object.map(layout.maps.policyDenials), {
      endpoint: (id) => ({ pod: nameOf(pods[id - 1]!), word: this.#table.wordOf(id) }),
      nameAt: (address) => pods.filter((pod) => pod.address === address).map(nameOf)[0],
      labelsOf: () => undefined,
      ruleText: (rule) => this.#table.ruleText(rule),
    });
  }

  close(): void {
    for (const { object } of Object.values(this.#fixtures)) object.close();
  }
}

const names: Record<number, NonNullable<PacketFields["protocol"]>> = {
  1: "icmp",
  6: "tcp",
  17: "udp",
  132: "sctp",
};

/** The first packet of a connection. */
function opening(connection: Connection, subject: Pod, peer: Who, sourcePort: number): PacketFields {
  const { direction, protocol, port } = connection;
  const other = isPod(peer) ? peer.address : peer;
  const own = other.includes(":") ? own6 : subject.address;
  const [source, destination] = direction === "egress" ? [own, other] : [other, own];
  const protocolName = names[protocol]!;
  return {
    ...{ source, destination, protocol: protocolName, sourceMac: podMac },
    ...(protocolName === "icmp"
      ? { icmpType: port, icmpId: sourcePort }
      : { sourcePort, destinationPort: port, tcpFlags: tcpSyn }),
  };
}

/** What comes back. */
function answer(packet: PacketFields): PacketFields {
  const { source, destination, sourcePort, destinationPort, protocol } = packet;
  const ends = { ...packet, source: destination, destination: source };
  if (protocol === "icmp") return { ...ends, icmpType: 0 };
  return { ...ends, sourcePort: destinationPort!, destinationPort: sourcePort!, tcpFlags: tcpAck, chunk: 2 };
}

/** Both ends' word on a connection from a local pod to another one. */
function expectation(policies: readonly Policy[], connection: Connection, peer: Who): boolean {
  const isAllowed = (one: Connection) => decide(policies, one).verdict === "allowed";
  if (connection.subject.address?.toString() === connection.peer.address?.toString()) return true;
  if (!isAllowed(connection)) return false;
  if (!isPod(peer) || !isLocal(peer) || connection.direction === "ingress") return true;
  return isAllowed({
    ...connection,
    direction: "ingress",
    subject: connection.peer,
    peer: connection.subject,
  });
}

describe("policies in the kernel", () => {
  let node: PolicyNode;
  const folder = mkdtempSync(path.join(tmpdir(), "shunt-policy-"));
  before(async () => {
    await makeTestNode(netns);
    await run("mount", ["-t", "bpf", "bpf", folder]);
    node = new PolicyNode(path.join(folder, "maps"));
  });
  after(async () => {
    node?.close();
    await run("umount", [folder], { allowFailure: true });
    rmSync(folder, { recursive: true, force: true });
    await run("ip", ["netns", "delete", netns]);
  });

  /** Those that a packet here can make, from or to a pod of this node. */
  function* testable(): Generator<[Connection, Pod, Who]> {
    for (const [connection, subject, peer] of connections({ withNodes: true })) {
      const isIngress = connection.direction === "ingress";
      if (!isLocal(subject)) continue;
      const isIpv6 = !isPod(peer) && peer.includes(":");
      if (isIpv6 && (isIngress || idOf(subject) !== 1 || connection.protocol === 1)) continue;
      // What the node itself sends goes other ways.
      if (isIngress && (peer === nodes.own || peer === nodes.other)) continue;
      // From another pod of this node it is that one's egress.
      if (connection.direction === "ingress" && isPod(peer) && isLocal(peer)) continue;
      yield [connection, subject, peer];
    }
  }

  test("packets of random policies pass as decide() says, and as what is read from the maps", () => {
    fc.assert(
      fc.property(anyPolicies, (objects) => {
        const policies = parsed(objects);
        node.apply(policies);
        for (const [connection, subject, peer] of testable()) {
          const packet = opening(connection, subject, peer, node.freshPort());
          const expected = expectation(policies, connection, peer);
          assert.equal(node.passes(packet, connection.direction), expected, words(connection, subject, peer));
          const { verdict } = node.trace(connection, subject, peer);
          const decided = decide(policies, connection).verdict;
          assert.equal(verdict, decided, `maps: ${words(connection, subject, peer)}`);
        }
      }),
      { numRuns: 500 },
    );
  });

  const web = { namespace: "x", name: "web" };
  const ingressFrom = (...from: object[]) => ({
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: web,
    spec: {
      podSelector: {},
      policyTypes: ["Ingress"],
      ingress: [{ from, ports: [{ port: 80 }, { port: 53, protocol: "UDP" }] }],
    },
  });
  const egressTo = (...to: object[]) => ({
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { ...web, name: "out" },
    spec: { podSelector: {}, policyTypes: ["Egress"], egress: to.length === 0 ? [] : [{ to }] },
  });
  const client = { namespaceSelector: { matchLabels: { ns: "y" } } };
  const [subject, , , peer] = pods as [Pod, Pod, Pod, Pod];
  const connectionOf = (direction: "ingress" | "egress", protocol: number, port: number): Connection => ({
    ...{ direction, subject: endOf(subject), peer: endOf(peer), protocol, port },
  });
  const open = (direction: "ingress" | "egress", protocol = 6, port = 80) =>
    opening(connectionOf(direction, protocol, port), subject, peer, node.freshPort());

  for (const [protocol, port] of [
    [6, 80],
    [17, 53],
    [1, 8],
    [132, 80],
  ] as const)
    test(`answers pass an end that nobody may reach, protocol ${protocol}; what nobody asked for does not`, () => {
      node.apply(parsed([ingressFrom(), egressTo(client)]));
      const asked = open("egress", protocol, port);
      assert.equal(node.passes(answer(asked), "ingress"), false, "before it was asked");
      assert.equal(node.passes(asked, "egress"), true);
      assert.equal(node.passes(answer(asked), "ingress"), true, "the answer");
      assert.equal(node.passes(answer({ ...asked, sourcePort: 1_000, icmpId: 1_000 }), "ingress"), false);
      if (protocol === 6)
        assert.equal(
          node.passes({ ...answer(asked), tcpFlags: tcpSyn }, "ingress"),
          false,
          "a connection of its own",
        );
    });

  type AdminRule = [action: "Allow" | "Deny" | "Pass", ...to: object[]];
  const admin = (kind: "AdminNetworkPolicy" | "BaselineAdminNetworkPolicy", rules: readonly AdminRule[]) => ({
    ...{ apiVersion: "policy.networking.k8s.io/v1alpha1", kind, metadata: { name: "default" } },
    spec: {
      ...(kind === "AdminNetworkPolicy" ? { priority: 5 } : {}),
      subject: { namespaces: { matchLabels: { ns: "x" } } },
      egress: rules.map(([action, ...to]) => ({ action, to })),
    },
  });
  const anp = (...rules: AdminRule[]) => admin("AdminNetworkPolicy", rules);
  const banp = (...rules: AdminRule[]) => admin("BaselineAdminNetworkPolicy", rules);
  const network = (...networks: string[]) => ({ networks });
  const [allPods, allNodes] = [{ namespaces: {} }, { nodes: {} }];
  const all4 = network("0.0.0.0/0");
  /** Of other pods, so that the prefix has a number here too. */
  const elsewhere = {
    ...egressTo({ ipBlock: { cidr: "10.244.0.0/16" } }),
    metadata: { namespace: "z", name: "out" },
  };
  const toFar = { podSelector: { matchLabels: { pod: "a" } }, ...client };
  const [pods4, world6] = [["near", "far", "twin"], ["world6"]] as const;
  const networkCases: [title: string, objects: any[], passes: readonly Place[]][] = [
    ["all of IPv4 is denied, pods and nodes too", [anp(["Deny", all4])], ["far6", ...world6]],
    [
      "pods are passed before that, unlike addresses that nobody told about",
      [anp(["Pass", allPods], ["Deny", all4])],
      [...pods4, "far6", ...world6],
    ],
    [
      "what is passed is for NetworkPolicy: its block allows pods",
      [anp(["Pass", allPods], ["Deny", all4]), egressTo({ ipBlock: { cidr: "10.244.1.0/24" } })],
      ["far", "twin"],
    ],
    [
      "what is passed and isolated is not allowed by a network after it, nor where another policy names a block",
      [anp(["Pass", allPods], ["Allow", all4]), egressTo(), elsewhere],
      ["unknown", "host", "otherNode", "world"],
    ],
    [
      "a network is allowed before isolation, and holds one of two pods with the same labels",
      [anp(["Allow", network("10.244.1.64/26")]), egressTo()],
      ["twin"],
    ],
    [
      "one of two pods with the same labels is denied, before what allows both",
      [anp(["Deny", network("10.244.1.64/26")]), egressTo(toFar)],
      ["far", "far6"],
    ],
    [
      "the rule goes first, not the longer prefix",
      [anp(["Allow", network("10.244.0.0/16")], ["Deny", network("10.244.1.64/26")])],
      ["near", "far", "twin", "far6", "unknown", "host", "otherNode", "world", ...world6],
    ],
    [
      "a shorter network around one that is allowed",
      [anp(["Allow", network("10.244.1.64/26")], ["Deny", network("10.244.0.0/16")])],
      ["twin", "far6", "host", "otherNode", "world", ...world6],
    ],
    [
      "a network within one that is passed",
      [anp(["Pass", network("10.244.1.64/26")], ["Deny", network("10.244.1.0/24", "192.0.2.0/24")])],
      ["near", "twin", "far6", "unknown", "host", "otherNode", ...world6],
    ],
    [
      "the node itself",
      [anp(["Deny", network("172.31.0.2/32")])],
      [...pods4, "far6", "unknown", "otherNode", "world", ...world6],
    ],
    [
      "all nodes",
      [anp(["Deny", network("172.31.0.0/24")])],
      [...pods4, "far6", "unknown", "world", ...world6],
    ],
    [
      "nodes are allowed before a network that holds them",
      [anp(["Allow", allNodes], ["Deny", all4]), egressTo()],
      ["host", "otherNode"],
    ],
    ["all of IPv6", [anp(["Deny", network("::/0")])], [...pods4, "unknown", "host", "otherNode", "world"]],
    [
      "pods of IPv6",
      [anp(["Deny", network("fd10:244:0:2::/64")])],
      [...pods4, "unknown", "host", "otherNode", "world", ...world6],
    ],
    [
      "the baseline denies what no NetworkPolicy is about",
      [banp(["Deny", network("10.244.1.0/24")])],
      ["near", "far6", "unknown", "host", "otherNode", "world", ...world6],
    ],
    [
      "a NetworkPolicy goes before the baseline",
      [banp(["Deny", all4]), egressTo(toFar)],
      ["far", "twin", "far6"],
    ],
    [
      "admins pass to the baseline",
      [anp(["Pass", network("10.244.1.64/26")], ["Deny", allPods]), banp(["Deny", network("192.0.2.0/24")])],
      ["twin", "unknown", "host", "otherNode", ...world6],
    ],
  ];
  const placeEnd = (place: Place): End => {
    const address = places[place];
    if (place === "unknown") return { labels: new Map(), ports: [], address: addressBytes(address) };
    const ofPod = pods.find((pod) => pod.address === (place === "far6" ? places.far : address));
    return { ...endOf(ofPod ?? address), address: addressBytes(address) };
  };
  const toPlace = (place: Place): Connection => ({
    ...{ direction: "egress", subject: endOf(subject), peer: placeEnd(place), protocol: 6, port: 80 },
  });
  for (const [title, objects, expected] of networkCases)
    test(`networks: ${title}`, () => {
      const policies = parsed(objects);
      node.apply(policies);
      const passing = (passes: (place: Place) => boolean) =>
        (Object.keys(places) as Place[]).filter(passes).toSorted();
      const wanted = [...expected].toSorted();
      const packet = (place: Place) => opening(toPlace(place), subject, places[place], node.freshPort());
      assert.deepEqual(
        passing((place) => decide(policies, toPlace(place)).verdict === "allowed"),
        wanted,
        "decide()",
      );
      assert.deepEqual(
        passing((place) => node.passes(packet(place), "egress")),
        wanted,
        "packets",
      );
      const traced = (place: Place) =>
        node.trace(toPlace(place), subject, places[place]).verdict === "allowed";
      assert.deepEqual(passing(traced), wanted, "maps");
    });

  test("networks: a change has no moment in which what stays denied passes, or what stays allowed is dropped", () => {
    const steps = [
      [anp(["Deny", network("192.0.2.0/24", "10.244.1.0/24")])],
      [anp(["Deny", network("192.0.2.0/25", "192.0.2.128/25"), network("10.244.1.1/32", "10.244.1.64/26")])],
      [anp(["Allow", network("10.244.0.2/32")], ["Deny", all4])],
      [anp(["Allow", network("10.244.0.2/32")]), egressTo()],
      [banp(["Deny", network("192.0.0.0/16", "10.244.1.0/24")])],
      [anp(["Pass", allPods], ["Deny", all4]), egressTo({ podSelector: {} })],
      [anp(["Deny", network("192.0.2.0/24", "10.244.1.0/24")])],
    ];
    let writes = 0;
    node.apply(parsed(steps.at(-1)!));
    node.onWrite = () => {
      writes++;
      const passing = (["near", "far", "twin", "world"] as const).filter((place) =>
        node.passes(opening(toPlace(place), subject, places[place], node.freshPort()), "egress"),
      );
      assert.deepEqual(passing, ["near"]);
    };
    try {
      for (const objects of steps) node.apply(parsed(objects));
    } finally {
      node.onWrite = undefined;
    }
    assert.ok(writes > 50, `${writes} writes`);
  });

  test("prefixes: a change has no moment in which what stays denied passes, or what stays allowed is dropped", () => {
    const cilium = (key: string, ...cidrs: string[]) => ({
      ...{ apiVersion: "cilium.io/v2", kind: "CiliumNetworkPolicy", metadata: { name: key, namespace: "x" } },
      spec: {
        endpointSelector: {},
        enableDefaultDeny: { egress: false },
        [key]: [{ toCIDR: cidrs }],
      },
    });
    const block = (cidr: string, ...except: string[]) => ({ ipBlock: { cidr, except } });
    // The world's address is denied by all, the pod "far" is allowed by all.
    const steps = [
      [cilium("egressDeny", "192.0.2.0/24")],
      [cilium("egressDeny", "192.0.2.0/25", "192.0.2.128/25")],
      [egressTo(block("10.244.0.0/16"), block("0.0.0.0/0", "192.0.2.0/24"))],
      [egressTo(block("10.244.0.0/24"), block("10.244.1.0/24"), block("0.0.0.0/0", "192.0.0.0/16"))],
      [egressTo(block("10.244.0.0/28"), block("10.244.1.0/24")), cilium("egress", "198.51.100.0/24")],
      [cilium("egressDeny", "192.0.2.0/26", "192.0.2.64/26", "192.0.2.128/25")],
      [cilium("egressDeny", "192.0.2.0/24")],
    ];
    const look = () => {
      const passing = (["far", "world"] as const).filter((place) =>
        node.passes(opening(toPlace(place), subject, places[place], node.freshPort()), "egress"),
      );
      assert.deepEqual(passing, ["far"]);
    };
    let writes = 0;
    node.apply(parsed(steps.at(-1)!));
    for (const isRestarted of [false, true]) {
      for (const objects of steps) {
        if (isRestarted) node.restart();
        node.onWrite = () => {
          writes++;
          look();
        };
        try {
          node.apply(parsed(objects));
        } finally {
          node.onWrite = undefined;
        }
        look();
      }
    }
    assert.ok(writes > 50, `${writes} writes`);
    node.apply([]);
    node.apply([]);
    assert.equal(node.sizes()[layout.maps.policyTables], 0);
  });

  test("prefixes: those that rules except are everybody's, also where nothing else has changed", () => {
    const passing = () =>
      (["near", "far", "world"] as const).filter((place) =>
        node.passes(opening(toPlace(place), subject, places[place], node.freshPort()), "egress"),
      );
    const all = (...except: string[]) => parsed([egressTo({ ipBlock: { cidr: "0.0.0.0/0", except } })]);
    node.apply(all());
    assert.deepEqual(passing(), ["near", "far", "world"]);
    const open = opening(toPlace("world"), subject, places.world, node.freshPort());
    assert.equal(node.passes(open, "egress"), true);
    node.apply(all("192.0.2.0/24", "10.244.1.1/32"));
    assert.deepEqual(passing(), ["near"]);
    assert.equal(node.passes({ ...open, tcpFlags: tcpAck }, "egress"), false, "one that was open");
    node.apply(all("192.0.2.0/24", "10.244.0.2/32"));
    assert.deepEqual(passing(), ["far"]);
    node.apply(all());
    assert.deepEqual(passing(), ["near", "far", "world"]);
    node.apply([]);
    node.apply([]);
    assert.equal(node.sizes()[layout.maps.policyTables], 0);
  });

  test("networks: their tables go from the maps with what named them, also those of an earlier agent", () => {
    node.apply([]);
    node.apply([]);
    const empty = node.sizes();
    const policies = parsed([anp(["Pass", allPods], ["Deny", all4]), egressTo()]);
    node.apply(policies);
    assert.ok(node.sizes()[layout.maps.policyNetworks]! > 0);
    const traced = (place: Place) => node.trace(toPlace(place), subject, places[place]).verdict;
    node.restart();
    assert.deepEqual([traced("world"), traced("world6")], ["denied", "denied"]);
    node.apply(parsed([anp(["Deny", all4])]));
    assert.deepEqual([traced("world"), traced("world6")], ["denied", "allowed"]);
    node.apply([]);
    node.apply([]);
    assert.deepEqual(node.sizes(), empty);
  });

  test("a connection that a changed policy forbids ends; one that it allows goes on", () => {
    const policies = parsed([ingressFrom(client)]);
    node.apply(policies);
    const packet = open("ingress");
    const later = { ...packet, tcpFlags: tcpAck };
    assert.equal(node.passes(packet, "ingress"), true);
    node.apply(parsed([ingressFrom(client, { podSelector: {} })]));
    assert.equal(node.passes(later, "ingress"), true);
    node.apply(parsed([ingressFrom({ podSelector: {} })]));
    assert.equal(node.passes(later, "ingress"), false);
    assert.equal(node.passes(answer(later), "egress"), false, "its answers too");
    node.apply(policies);
    assert.equal(node.passes(later, "ingress"), true);
  });

  test("a connection that was there before the first policy keeps getting its answers", () => {
    node.apply([]);
    const packet = open("egress");
    assert.equal(node.passes(packet, "egress"), true);
    node.apply(parsed([ingressFrom()]));
    assert.equal(node.passes(answer(packet), "ingress"), true);
  });

  test("an ICMP error about a connection passes; one about nothing does not", () => {
    node.apply(parsed([ingressFrom(), egressTo(client)]));
    const packet = open("egress", 17, 53);
    const error = (about: PacketFields): PacketFields => ({
      ...{ source: peer.address, destination: subject.address, protocol: "icmp", icmpType: 3 },
      quote: buildPacket(about).subarray(14),
    });
    assert.equal(node.passes(error(packet), "ingress"), false);
    assert.equal(node.passes(packet, "egress"), true);
    assert.equal(node.passes(error(packet), "ingress"), true);
    const elsewhere = { ...error(packet), destination: pods[1]!.address };
    assert.equal(node.passes(elsewhere, "ingress"), false, "to a pod that asked nothing");
  });

  test("audit lets pass what enforcing denies, counts each connection once and notes it", () => {
    const policies = parsed([ingressFrom()]);
    node.apply(policies, true);
    const counted = () => node.counted(layout.reasons.FORWARD_AUDITED);
    const before = counted();
    assert.deepEqual(node.denials(), [], "what other policies denied is not told");
    const packet = open("ingress", 6, 81);
    for (const tcpFlags of [tcpSyn, tcpAck, tcpAck])
      assert.equal(node.passes({ ...packet, tcpFlags }, "ingress"), true);
    assert.equal(counted() - before, 1);
    assert.equal(node.trace(connectionOf("ingress", 6, 81), subject, peer).verdict, "audited");
    const [denial, ...others] = node.denials();
    assert.deepEqual(others, []);
    const { lastSeen, ...told } = denial!;
    assert.ok(Math.abs(Date.parse(lastSeen) - Date.now()) < 60_000, lastSeen);
    assert.deepEqual(told, {
      ...{
        pod: nameOf(subject),
        direction: "ingress",
        port: "81/TCP",
        verdict: "audited",
        packets: 1,
        rule: "NetworkPolicy x/web",
      },
      peer: { address: peer.address, identity: identityOf(peer), name: nameOf(peer) },
    });
    node.forgetDenials("192.0.2.77");
    assert.equal(node.denials().length, 1);
    node.forgetDenials(peer.address);
    assert.deepEqual(node.denials(), []);
    node.apply(policies);
    assert.deepEqual(node.denials(), []);
    for (const tcpFlags of [tcpAck, tcpAck])
      assert.equal(node.passes({ ...packet, tcpFlags }, "ingress"), false);
    assert.deepEqual(
      node.denials().map(({ verdict, packets }) => [verdict, packets]),
      [["denied", 2]],
    );
  });

  test("sets that nobody is judged by go from the maps", () => {
    node.apply([]);
    node.apply([]);
    const empty = node.sizes();
    node.apply(parsed([ingressFrom(client), egressTo(client, { ipBlock: { cidr: "192.0.2.0/24" } })]));
    assert.notDeepEqual(node.sizes(), empty);
    node.apply([]);
    node.apply([]);
    assert.deepEqual(node.sizes(), empty);
  });

  test("what an earlier agent wrote is in force until there is something else, and then goes", () => {
    node.apply(parsed([ingressFrom()]));
    const full = node.sizes();
    node.restart();
    assert.equal(node.passes(open("ingress", 6, 81), "ingress"), false);
    assert.deepEqual(node.sizes(), full);
    node.apply(parsed([ingressFrom(client)]));
    assert.equal(node.passes(open("ingress"), "ingress"), true);
    node.apply([]);
    node.apply([]);
    assert.equal(node.sizes()[layout.maps.policyTables], 0);
  });
});
