// SPDX-License-Identifier: Apache-2.0
// Policies about nodes: what the node itself sends and gets is judged, what passes through it is not.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, describe, test } from "node:test";
import { addressBytes, parseCidr } from "../../lib/addresses.ts";
import { run } from "../../lib/run.ts";
import * as layout from "../datapath-layout.ts";
import { buildPacket, type PacketFields } from "../packet-building.ts";
import { verdicts } from "../packet-cases.ts";
import { loadFixture, makeTestNode, type PacketFixture, podMac } from "../packet-fixture.ts";
import { compile, namedPrefixes } from "./compile.ts";
import { decide, type End } from "./decide.ts";
import type { Policy } from "./model.ts";
import { type Identity, PeerIndex } from "./peer-index.ts";
import { PolicyTable, type PrefixIdentity } from "./policy-table.ts";
import { parsePolicy } from "./validate.ts";

const netns = `shtn${process.pid}`;
const tcp = { syn: 0x02, ack: 0x10, synAck: 0x12 } as const;
/** The node, another one, a pod of each, and two of the world. */
const at = {
  node: "172.31.0.2",
  node6: "fd31::2",
  gateway: "10.244.1.1",
  otherNode: "172.31.0.3",
  pod: "10.244.1.5",
  farPod: "10.244.2.9",
  friend: "198.51.100.70",
  stranger: "203.0.113.1",
  stranger6: "2001:db8::1",
} as const;
const podIdentity = 1_000;
const remoteNode = 6;
const podLabels = new Map([
  ["k8s:app", "a"],
  ["k8s:io.kubernetes.pod.namespace", "x"],
]);
const host: End = {
  labels: new Map([
    ["reserved:host", ""],
    ["node:role", "edge"],
  ]),
  ports: [],
};

function about(nodeSelector: object, spec: object): Policy[] {
  const { policies, problems } = parsePolicy({
    apiVersion: "cilium.io/v2",
    kind: "CiliumClusterwideNetworkPolicy",
    metadata: { name: "edge" },
    spec: { nodeSelector, ...spec },
  });
  assert.deepEqual(problems, []);
  return [...policies];
}
const edge = { matchLabels: { role: "edge" } };
const onPort = (port: number) => ({ toPorts: [{ ports: [{ port: String(port) }] }] });
const closed = about(edge, {
  ingress: [
    { fromEntities: ["remote-node"] },
    { fromCIDR: ["198.51.100.64/26"], ...onPort(22) },
    { fromEndpoints: [{ matchLabels: { app: "a" } }], ...onPort(9100) },
  ],
  egress: [{ toEntities: ["remote-node"] }, { toCIDR: ["198.51.100.64/26"] }],
});

class HostNode {
  readonly #fixtures: Record<"pod" | "netdev" | "overlay", PacketFixture>;
  readonly #table: PolicyTable;
  #now = 0;
  #port = 2_000;

  constructor(pinFolder: string) {
    const { CONFIG_POLICY, CONFIG_POD_SERVICES } = layout.configFlags;
    const load = (name: string) =>
      loadFixture(`${name}.bpf.o`, netns, CONFIG_POLICY | CONFIG_POD_SERVICES, { pinFolder });
    this.#fixtures = { pod: load("pod"), netdev: load("netdev"), overlay: load("overlay") };
    const { object } = this.#fixtures.pod;
    const map = (name: keyof typeof layout.maps) => object.map(layout.maps[name]);
    const own = layout.endpoint.decode(map("endpoints").get(addressBytes(at.pod))!);
    map("endpoints").set(addressBytes(at.pod), layout.endpoint.encode({ ...own, identity: podIdentity }));
    const { IPCACHE_TUNNEL, IPCACHE_IN_CLUSTER, IPCACHE_NODE } = layout.ipcacheFlags;
    for (const [address, identity, flags] of [
      [at.otherNode, remoteNode, IPCACHE_NODE],
      [at.farPod, podIdentity, IPCACHE_TUNNEL | IPCACHE_IN_CLUSTER],
    ] as const)
      map("ipcache").set(
        layout.ipcachePrefix(parseCidr(`${address}/32`)),
        layout.ipcacheEntry.encode({ tunnelEndpoint: addressBytes(at.otherNode), flags, identity }),
      );
    this.#table = new PolicyTable(
      {
        ...{ policyOf: map("policyOf"), policyTables: map("policyTables") },
        policyNetworks: map("policyNetworks"),
        ...{ policyPorts: map("policyPorts"), policyPrefixes: map("policyPrefixes") },
      },
      () => this.#now,
    );
  }

  apply(policies: readonly Policy[], audit = false): void {
    const kind = layout.policyPrefixKinds.POLICY_PREFIX_WORLD;
    const cidrs = [...["0.0.0.0/0", "::/0"].map(parseCidr), ...namedPrefixes(policies)];
    const prefixes = cidrs.map((cidr, index): PrefixIdentity => ({ kind, cidr, identity: 20_000 + index }));
    const peers = new PeerIndex([
      { id: remoteNode, labels: new Map([["reserved:remote-node", ""]]), ports: [] },
      { id: podIdentity, labels: podLabels, ports: [] },
      ...prefixes.map(
        ({ cidr, identity }): Identity => ({ id: identity, labels: worldOf(cidr.family), ports: [], cidr }),
      ),
    ]);
    const judged = (subject: End) => ({
      ingress: compile(policies, "ingress", subject, peers),
      egress: compile(policies, "egress", subject, peers),
      audit,
    });
    this.#now += 10_000;
    const pod = { labels: podLabels, ports: [] };
    this.#table.apply(
      new Map([
        [layout.policyHost, judged(host)],
        [1, judged(pod)],
      ]),
      prefixes,
    );
  }

  freshPort(): number {
    return this.#port++;
  }

  /** Whether a packet passes a program: on, or to a pod. What is dropped must be so by a policy. */
  passes(program: string, packet: PacketFields): boolean {
    const object = /netdev$/.test(program) ? "netdev" : /overlay$/.test(program) ? "overlay" : "pod";
    const denied = () =>
      [0, 1].reduce(
        (sum, way) => sum + this.#fixtures.pod.counted(way, layout.reasons.DROP_POLICY_DENIED),
        0,
      );
    const before = denied();
    const { verdict } = this.#fixtures[object].run(program, buildPacket({ sourceMac: podMac, ...packet }));
    const isDenied = denied() > before;
    assert.equal(verdict === verdicts.drop, isDenied, `${program} ${JSON.stringify(packet)}`);
    return !isDenied;
  }

  close(): void {
    for (const { object } of Object.values(this.#fixtures)) object.close();
  }
}

const worldOf = (family: "ipv4" | "ipv6") =>
  new Map([
    ["reserved:world", ""],
    [`reserved:world-${family}`, ""],
  ]);

describe("policies about a node, in the kernel", () => {
  let node: HostNode;
  const folder = mkdtempSync(path.join(tmpdir(), "shunt-host-policy-"));
  before(async () => {
    await makeTestNode(netns);
    await run("mount", ["-t", "bpf", "bpf", folder]);
    node = new HostNode(path.join(folder, "maps"));
  });
  after(async () => {
    node?.close();
    await run("umount", [folder], { allowFailure: true });
    rmSync(folder, { recursive: true, force: true });
    await run("ip", ["netns", "delete", netns]);
  });

  const packet = (
    [source, destination]: readonly [string, string],
    destinationPort: number,
    rest: Partial<PacketFields> = {},
  ): PacketFields => ({
    ...{ source, destination, protocol: "tcp", tcpFlags: tcp.syn },
    ...{ sourcePort: node.freshPort(), destinationPort, ...rest },
  });
  const answer = ({ source, destination, sourcePort, destinationPort, ...rest }: PacketFields) => ({
    ...rest,
    ...{ source: destination, destination: source, tcpFlags: tcp.synAck },
    ...{ sourcePort: destinationPort!, destinationPort: sourcePort! },
  });

  const cases: [title: string, program: string, ends: [string, string], port: number, passes: boolean][] = [
    ["from a CIDR that is allowed", "from_netdev", [at.friend, at.node], 22, true],
    ["from there to another port", "from_netdev", [at.friend, at.node], 23, false],
    ["from elsewhere", "from_netdev", [at.stranger, at.node], 22, false],
    ["from elsewhere, IPv6", "from_netdev", [at.stranger6, at.node6], 22, false],
    ["from another node", "from_netdev", [at.otherNode, at.node], 10_250, true],
    ["from a pod of the node", "from_pod", [at.pod, at.node], 9100, true],
    ["from that pod to the gateway's address", "from_pod", [at.pod, at.gateway], 9100, true],
    ["from that pod to another port", "from_pod", [at.pod, at.node], 9101, false],
    ["to a CIDR that is allowed", "to_netdev", [at.node, at.friend], 443, true],
    ["to elsewhere", "to_netdev", [at.node, at.stranger], 443, false],
    ["to elsewhere, IPv6", "to_netdev", [at.node6, at.stranger6], 443, false],
    ["to another node", "to_netdev", [at.node, at.otherNode], 10_250, true],
    ["to a pod of the node", "to_pod", [at.gateway, at.pod], 8080, false],
    ["to a pod of another node", "to_overlay", [at.gateway, at.farPod], 8080, false],
  ];
  for (const [title, program, ends, port, expected] of cases)
    test(`${title}: ${expected ? "passes" : "is denied"}`, () => {
      node.apply(closed);
      for (const protocol of ["tcp", "udp"] as const)
        assert.equal(node.passes(program, packet(ends, port, { protocol })), expected, protocol);
      node.apply(about({ matchLabels: { role: "other" } }, { ingress: [{}], egress: [{}] }));
      assert.equal(node.passes(program, packet(ends, port)), true, "another node's policy");
      node.apply(closed, true);
      assert.equal(node.passes(program, packet(ends, port)), true, "audit");
    });

  test("answers pass in both directions; what nobody asked for does not", () => {
    node.apply(closed);
    const out = packet([at.node, at.friend], 443);
    assert.equal(node.passes("from_netdev", answer(out)), false, "before it was asked");
    assert.equal(node.passes("to_netdev", out), true);
    assert.equal(node.passes("from_netdev", answer(out)), true);
    assert.equal(node.passes("from_netdev", { ...answer(out), tcpFlags: tcp.syn }), false);
    const into = packet([at.friend, at.node], 22);
    assert.equal(node.passes("from_netdev", into), true);
    assert.equal(node.passes("to_netdev", answer(into)), true);
    const local = packet([at.pod, at.node], 9100);
    assert.equal(node.passes("from_pod", local), true);
    assert.equal(node.passes("to_pod", answer(local)), true);
  });

  test("connections from before are judged by who opened them", () => {
    node.apply([]);
    const into = packet([at.stranger, at.node], 22);
    const out = packet([at.node, at.friend], 443);
    assert.equal(node.passes("from_netdev", into), true);
    assert.equal(node.passes("to_netdev", out), true);
    node.apply(closed);
    assert.equal(node.passes("from_netdev", { ...into, tcpFlags: tcp.ack }), false);
    assert.equal(node.passes("to_netdev", { ...answer(into), tcpFlags: tcp.ack }), false);
    assert.equal(node.passes("from_netdev", { ...answer(out), tcpFlags: tcp.ack }), true);
  });

  test("what nodes need to find each other, the tunnel and multicast are left alone", () => {
    node.apply(closed);
    const advertisement = { protocol: "icmp", icmpType: 136 } as const;
    const ends6 = [at.stranger6, at.node6] as const;
    assert.equal(node.passes("from_netdev", packet(ends6, 0, advertisement)), true);
    assert.equal(node.passes("from_netdev", packet(ends6, 0, { protocol: "icmp", icmpType: 128 })), false);
    assert.equal(node.passes("to_netdev", packet([at.node6, at.stranger6], 0, advertisement)), true);
    const tunnel = { protocol: "udp" } as const;
    assert.equal(node.passes("from_netdev", packet([at.stranger, at.node], 8473, tunnel)), true);
    assert.equal(node.passes("to_netdev", packet([at.node, "224.0.0.18"], 0, { protocol: "other" })), true);
    assert.equal(node.passes("to_netdev", packet([at.node, at.stranger], 0, { protocol: "other" })), false);
  });

  test("pods behind node ports are not the node; a server on the node's network is, behind its service too", () => {
    node.apply(closed);
    assert.equal(node.passes("from_netdev", packet([at.stranger, at.node], 30_080)), true, "a pod");
    assert.equal(node.passes("from_netdev", packet([at.stranger, at.node], 30_084)), false, "the node");
    const server = { fromEntities: ["world"], ...onPort(8080) };
    node.apply(about(edge, { ingress: [server] }));
    const asked = packet([at.stranger, at.node], 30_084);
    assert.equal(node.passes("from_netdev", asked), true);
    node.apply(about(edge, { ingress: [server], egress: [{ toEntities: ["remote-node"] }] }));
    const served = { ...asked, destinationPort: 8080 };
    assert.equal(node.passes("to_netdev", answer(served)), true, "its answer");
  });

  test("what a pod sends to a server on another node's network is the pod's, also under its node's address", () => {
    const egress = (...rules: object[]) =>
      parsePolicy({
        ...{
          apiVersion: "cilium.io/v2",
          kind: "CiliumNetworkPolicy",
          metadata: { name: "p", namespace: "x" },
        },
        spec: { endpointSelector: {}, egress: rules, enableDefaultDeny: { egress: true } },
      }).policies;
    const toService = (destinationPort: number, tcpFlags: number) =>
      packet([at.pod, "10.96.0.6"], destinationPort, { sourcePort: 4_000, tcpFlags });
    const nodeDeniesAll = about(edge, { egressDeny: [{ toEntities: ["all"] }] });
    node.apply([...egress({ toEntities: ["world"] })]);
    assert.equal(node.passes("from_pod", toService(80, tcp.syn)), false);
    assert.equal(node.passes("from_pod", toService(80, tcp.ack)), false, "nor what comes after");
    const open = [...egress({ toEntities: ["remote-node"], ...onPort(8080) }), ...nodeDeniesAll];
    node.apply(open);
    assert.equal(node.passes("from_pod", toService(80, tcp.syn)), true);
    assert.equal(node.passes("from_pod", toService(80, tcp.ack)), true);
    node.apply([...egress({ toEntities: ["remote-node"], ...onPort(80) })]);
    assert.equal(node.passes("from_pod", toService(80, tcp.ack)), false, "it is the backend's port");
  });

  test("rules that deny go first, and what the objects say is the same", () => {
    const policies = about(
      {},
      { ingress: [{ fromEntities: ["all"] }], ingressDeny: [{ fromEntities: ["world"], ...onPort(22) }] },
    );
    node.apply(policies);
    for (const [from, port] of [
      [at.stranger, 22],
      [at.stranger, 23],
      [at.otherNode, 22],
    ] as const) {
      const labels = from === at.stranger ? worldOf("ipv4") : new Map([["reserved:remote-node", ""]]);
      const peer: End = { labels, ports: [], address: addressBytes(from) };
      const connection = { direction: "ingress", subject: host, peer, protocol: 6, port } as const;
      const expected = decide(policies, connection).verdict === "allowed";
      assert.equal(node.passes("from_netdev", packet([from, at.node], port)), expected, `${from} ${port}`);
    }
  });
});
