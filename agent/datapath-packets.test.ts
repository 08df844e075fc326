// SPDX-License-Identifier: Apache-2.0
// Every program path by BPF_PROG_TEST_RUN: a packet in, the verdict, the reason counted and the packet out.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { run } from "../lib/run.ts";
import { directions, reasons } from "./datapath-layout.ts";
import { buildIp, buildPacket, type PacketFields, type ReadPacket, readPacket } from "./packet-building.ts";
import { loadFixture, makeTestNode, otherPodMac, type PacketFixture, podMac } from "./packet-fixture.ts";

const verdicts = { next: -1, drop: 2, redirect: 7 } as const;
const netns = `shtp${process.pid}`;
const ingress = directions.DIRECTION_INGRESS;
const egress = directions.DIRECTION_EGRESS;
const syn = 0x02;

interface Case {
  /** What happens, as a sentence. */
  title: string;
  program: "from_pod" | "to_pod" | "from_netdev" | "to_netdev" | "from_overlay" | "to_overlay";
  packet: PacketFields | Uint8Array;
  verdict: keyof typeof verdicts;
  /** The counter that must go up by one; none of ours may for `null`. */
  reason: keyof typeof reasons | null;
  /** Fields that the packet must have afterwards; the others must be as before. */
  becomes?: Partial<ReadPacket>;
}

const pod = "10.244.1.5";
const pod6 = "fd10:244:0:1::5";
const client = "203.0.113.9";

const fromPod: Case[] = [
  {
    title: "a packet to a pod of the same node goes there with its MACs",
    program: "from_pod",
    packet: { source: pod, destination: "10.244.1.6" },
    verdict: "redirect",
    reason: "FORWARD_LOCAL",
    becomes: { destinationMac: otherPodMac, sourceMac: "02:00:00:00:00:01", ttl: 63 },
  },
  {
    title: "the same by IPv6",
    program: "from_pod",
    packet: { source: pod6, destination: "fd10:244:0:1::6", protocol: "udp" },
    verdict: "redirect",
    reason: "FORWARD_LOCAL",
    becomes: { destinationMac: otherPodMac, sourceMac: "02:00:00:00:00:01", ttl: 63 },
  },
  {
    title: "IPv4 options are stepped over",
    program: "from_pod",
    packet: { source: pod, destination: "10.244.1.6", options: 8 },
    verdict: "redirect",
    reason: "FORWARD_LOCAL",
    becomes: { destinationMac: otherPodMac, sourceMac: "02:00:00:00:00:01", ttl: 63 },
  },
  {
    title: "a packet to a pod of another node goes into the tunnel",
    program: "from_pod",
    packet: { source: pod, destination: "10.244.2.9" },
    verdict: "redirect",
    reason: "FORWARD_OVERLAY",
    becomes: { ttl: 63 },
  },
  {
    title: "by IPv6 too",
    program: "from_pod",
    packet: { source: pod6, destination: "fd10:244:0:2::9" },
    verdict: "redirect",
    reason: "FORWARD_OVERLAY",
    becomes: { ttl: 63 },
  },
  {
    title: "one too big for the tunnel is left to the stack, which tells the sender",
    program: "from_pod",
    packet: { source: pod, destination: "10.244.2.9", payload: new Uint8Array(1440) },
    verdict: "next",
    reason: "FORWARD_STACK",
  },
  {
    title: "cluster addresses without a tunnel are routed and keep their source",
    program: "from_pod",
    packet: { source: pod, destination: "10.244.3.9" },
    verdict: "redirect",
    reason: "FORWARD_DIRECT",
    becomes: { ttl: 63, destinationMac: "02:00:00:00:ff:01", sourceMac: "uplink" },
  },
  {
    title: "a packet to the node goes to the stack",
    program: "from_pod",
    packet: { source: pod, destination: "172.31.0.2" },
    verdict: "next",
    reason: "FORWARD_HOST",
  },
  {
    title: "a last-hop packet is left to the stack, which says time exceeded",
    program: "from_pod",
    packet: { source: pod, destination: client, ttl: 1 },
    verdict: "next",
    reason: "FORWARD_STACK",
  },
  {
    title: "another's source address is dropped",
    program: "from_pod",
    packet: { source: "10.244.1.6", destination: pod },
    verdict: "drop",
    reason: "DROP_INVALID_SOURCE_IP",
  },
  {
    title: "the node's source address is dropped",
    program: "from_pod",
    packet: { source: "172.31.0.2", destination: "10.244.1.6" },
    verdict: "drop",
    reason: "DROP_INVALID_SOURCE_IP",
  },
  {
    title: "another's MAC is dropped",
    program: "from_pod",
    packet: { source: pod, destination: "10.244.1.6", sourceMac: otherPodMac },
    verdict: "drop",
    reason: "DROP_INVALID_SOURCE_MAC",
  },
  {
    title: "a mapped IPv4 source in an IPv6 packet is dropped",
    program: "from_pod",
    packet: { source: pod6, destination: "::ffff:10.244.1.6" },
    verdict: "drop",
    reason: "DROP_INVALID_PACKET",
  },
  {
    title: "neighbour discovery passes",
    program: "from_pod",
    packet: { source: "fe80::5", destination: "ff02::1:ff00:1", protocol: "icmp", icmpType: 135 },
    verdict: "next",
    reason: "FORWARD_STACK",
  },
  {
    title: "a router advertisement from a pod does not",
    program: "from_pod",
    packet: { source: "fe80::5", destination: "ff02::1", protocol: "icmp", icmpType: 134 },
    verdict: "drop",
    reason: "DROP_INVALID_SOURCE_IP",
  },
  {
    title: "multicast is dropped",
    program: "from_pod",
    packet: { source: pod, destination: "224.0.0.251", protocol: "udp" },
    verdict: "drop",
    reason: "DROP_UNKNOWN_TARGET",
  },
  {
    title: "loopback addresses do not leave a pod",
    program: "from_pod",
    packet: { source: pod, destination: "127.0.0.1" },
    verdict: "drop",
    reason: "DROP_INVALID_PACKET",
  },
  {
    title: "an unknown protocol cannot be masqueraded",
    program: "from_pod",
    packet: { source: pod, destination: client, protocol: "sctp" },
    verdict: "drop",
    reason: "DROP_UNKNOWN_L4",
  },
  {
    title: "a later fragment without its first cannot be masqueraded",
    program: "from_pod",
    packet: { source: pod, destination: client, protocol: "udp", fragment: 0x0010 },
    verdict: "drop",
    reason: "DROP_FRAGMENT",
  },
  {
    title: "an unknown Ethernet type is dropped",
    program: "from_pod",
    packet: { source: pod, destination: "10.244.1.6", etherType: 0x88cc },
    verdict: "drop",
    reason: "DROP_UNSUPPORTED_L3",
  },
  {
    title: "a header length below five is dropped",
    program: "from_pod",
    packet: edited({ source: pod, destination: "10.244.1.6" }, 14, 0x44),
    verdict: "drop",
    reason: "DROP_INVALID_PACKET",
  },
  {
    title: "a length beyond the packet is dropped",
    program: "from_pod",
    packet: edited({ source: pod, destination: "10.244.1.6" }, 16, 0x40),
    verdict: "drop",
    reason: "DROP_INVALID_PACKET",
  },
  {
    title: "a cut TCP header is dropped",
    program: "from_pod",
    packet: cutTcp(),
    verdict: "drop",
    reason: "DROP_TRUNCATED",
  },
  {
    title: "extension headers without end are dropped",
    program: "from_pod",
    packet: { source: pod6, destination: "fd10:244:0:1::6", extensions: { first: 60, bytes: headers(7) } },
    verdict: "drop",
    reason: "DROP_INVALID_PACKET",
  },
  {
    title: "a packet from the stack to a pod is counted",
    program: "to_pod",
    packet: { source: "10.244.1.1", destination: pod },
    verdict: "next",
    reason: "FORWARD_TO_POD",
  },
];

const fromNetdev: Case[] = [
  {
    title: "a node port with a backend here goes to the pod and keeps the client's address",
    program: "from_netdev",
    packet: { source: client, destination: "172.31.0.2", destinationPort: 30080, tcpFlags: syn },
    verdict: "redirect",
    reason: "FORWARD_SERVICE",
    becomes: {
      destination: pod,
      destinationPort: 8080,
      destinationMac: podMac,
      sourceMac: "02:00:00:00:00:01",
      ttl: 63,
    },
  },
  {
    title: "by IPv6 too",
    program: "from_netdev",
    packet: { source: "2001:db8::9", destination: "fd31::2", destinationPort: 30080, protocol: "udp" },
    verdict: "redirect",
    reason: "FORWARD_SERVICE",
    becomes: {
      destination: pod6,
      destinationPort: 8080,
      destinationMac: podMac,
      sourceMac: "02:00:00:00:00:01",
      ttl: 63,
    },
  },
  {
    title: "an external address goes to its backend",
    program: "from_netdev",
    packet: { source: client, destination: "198.51.100.7", destinationPort: 443, tcpFlags: syn },
    verdict: "redirect",
    reason: "FORWARD_SERVICE",
    becomes: {
      destination: "10.244.1.6",
      destinationPort: 8080,
      destinationMac: otherPodMac,
      sourceMac: "02:00:00:00:00:01",
      ttl: 63,
    },
  },
  {
    title: "a backend in the node's own namespace gets it by the stack",
    program: "from_netdev",
    packet: { source: client, destination: "172.31.0.2", destinationPort: 30084, tcpFlags: syn },
    verdict: "next",
    reason: "FORWARD_SERVICE",
    becomes: { destinationPort: 8080 },
  },
  {
    title: "a service without backends drops",
    program: "from_netdev",
    packet: { source: client, destination: "172.31.0.2", destinationPort: 30082, tcpFlags: syn },
    verdict: "drop",
    reason: "DROP_NO_BACKEND",
  },
  {
    title: "externalTrafficPolicy Local without a backend here drops",
    program: "from_netdev",
    packet: { source: client, destination: "172.31.0.2", destinationPort: 30083, tcpFlags: syn },
    verdict: "drop",
    reason: "DROP_NO_BACKEND",
  },
  {
    title: "a port outside the node port range is the node's own",
    program: "from_netdev",
    packet: { source: client, destination: "172.31.0.2", destinationPort: 8080, tcpFlags: syn },
    verdict: "next",
    reason: null,
  },
  {
    title: "tunnel packets are the stack's",
    program: "from_netdev",
    packet: { source: "172.31.0.3", destination: "172.31.0.2", protocol: "udp", destinationPort: 8473 },
    verdict: "next",
    reason: null,
  },
  {
    title: "a routed packet goes to its pod",
    program: "from_netdev",
    packet: { source: "10.244.3.9", destination: pod },
    verdict: "redirect",
    reason: "FORWARD_LOCAL",
    becomes: { destinationMac: podMac, sourceMac: "02:00:00:00:00:01", ttl: 63 },
  },
  {
    title: "a pod's address from outside is dropped",
    program: "from_netdev",
    packet: { source: "10.244.1.6", destination: pod },
    verdict: "drop",
    reason: "DROP_INVALID_SOURCE_IP",
  },
  {
    title: "what the node sends itself leaves unchanged",
    program: "to_netdev",
    packet: { source: "172.31.0.2", destination: client },
    verdict: "next",
    reason: null,
  },
];

const overlay: Case[] = [
  {
    title: "a packet without tunnel information is dropped",
    program: "from_overlay",
    packet: { source: "10.244.2.9", destination: pod },
    verdict: "drop",
    reason: "DROP_UNKNOWN_SENDER",
  },
  {
    title: "a packet of the node to a remote pod gets its tunnel key",
    program: "to_overlay",
    packet: { source: "10.244.1.1", destination: "10.244.2.9" },
    verdict: "next",
    reason: "FORWARD_OVERLAY",
  },
  {
    title: "a packet to nowhere is dropped before the tunnel",
    program: "to_overlay",
    packet: { source: "10.244.1.1", destination: "10.244.9.9" },
    verdict: "drop",
    reason: "DROP_UNKNOWN_TARGET",
  },
];

function edited(fields: PacketFields, offset: number, value: number): Uint8Array {
  const packet = buildPacket(fields);
  packet[offset] = value;
  return packet;
}

function cutTcp(): Uint8Array {
  const packet = buildPacket({ source: pod, destination: "10.244.1.6" }).subarray(0, 14 + 20 + 10);
  packet.writeUInt16BE(30, 16);
  return packet;
}

function headers(count: number): Uint8Array {
  return Uint8Array.from(Array.from({ length: count }, () => [60, 0, 1, 4, 0, 0, 0, 0]).flat());
}

function allCounts(fixture: PacketFixture): Map<string, number> {
  const counts = new Map<string, number>();
  for (const [name, reason] of Object.entries(reasons))
    counts.set(name, fixture.counted(ingress, reason) + fixture.counted(egress, reason));
  return counts;
}

function runCase(fixture: PacketFixture, one: Case): void {
  const packet = one.packet instanceof Uint8Array ? one.packet : buildPacket(one.packet);
  const countsBefore = allCounts(fixture);
  const result = fixture.run(one.program, packet);
  assert.equal(result.verdict, verdicts[one.verdict]);
  const changed = [...allCounts(fixture)].filter(([name, count]) => count !== countsBefore.get(name));
  assert.deepEqual(
    changed.map(([name]) => name),
    one.reason === null ? [] : [one.reason],
  );
  if (one.becomes === undefined) {
    assert.deepEqual(Buffer.from(result.packet), Buffer.from(packet), "the packet must be unchanged");
    return;
  }
  const out = readPacket(result.packet);
  const expected = { ...readPacket(packet), ...one.becomes };
  if (expected.sourceMac === "uplink") expected.sourceMac = out.sourceMac;
  if (!(one.packet instanceof Uint8Array) && one.packet.protocol !== "icmp") expected.icmpId = out.icmpId;
  assert.deepEqual(out, expected);
}

describe("packets", () => {
  const fixtures: Record<string, PacketFixture> = {};
  before(async () => {
    await makeTestNode(netns);
    for (const name of ["pod", "netdev", "overlay"]) fixtures[name] = loadFixture(`${name}.bpf.o`, netns);
  });
  after(async () => {
    for (const fixture of Object.values(fixtures)) fixture.object.close();
    await run("ip", ["netns", "delete", netns]);
  });

  for (const [name, cases] of Object.entries({ pod: fromPod, netdev: fromNetdev, overlay })) {
    assert.ok(cases.length > 0);
    for (const one of cases) test(`${one.program}: ${one.title}`, () => runCase(fixtures[name]!, one));
  }

  test("from_pod: a world-bound flow gets the node's address and keeps its translated port", () => {
    const fixture = fixtures.pod!;
    for (const [source, destination, node] of [
      [pod, client, "172.31.0.2"],
      [pod6, "2001:db8::9", "fd31::2"],
    ] as const)
      for (const protocol of ["tcp", "udp", "icmp"] as const) {
        const packet = buildPacket({ source, destination, protocol });
        const [first, second] = [0, 1].map(() => {
          const result = fixture.run("from_pod", packet);
          assert.equal(result.verdict, verdicts.redirect);
          return readPacket(result.packet);
        });
        assert.deepEqual(first, second);
        assert.equal(first!.source, node);
        assert.ok(first!.checksumsRight, `${protocol} checksums`);
        const port = protocol === "icmp" ? first!.icmpId : first!.sourcePort;
        assert.ok(port >= 61000 && port <= 65535, `port ${port}`);
      }
  });

  test("from_netdev: a backend elsewhere is reached through the tunnel, and its reply returns to the client", () => {
    const fixture = fixtures.netdev!;
    const request = { source: client, destination: "172.31.0.2", sourcePort: 5555, destinationPort: 30081 };
    const sent = readPacket(fixture.run("from_netdev", buildPacket({ ...request, tcpFlags: syn })).packet);
    assert.equal(sent.source, "10.244.1.1");
    assert.equal(sent.destination, "10.244.2.9");
    assert.ok(sent.checksumsRight);
    const reply = {
      source: "10.244.2.9",
      destination: "10.244.1.1",
      sourcePort: 8080,
      destinationPort: sent.sourcePort,
    };
    const back = fixture.run("from_netdev", buildPacket({ ...reply, tcpFlags: 0x12 }));
    assert.equal(back.verdict, verdicts.redirect);
    const read = readPacket(back.packet);
    assert.deepEqual(
      [read.source, read.sourcePort, read.destination, read.destinationPort, read.checksumsRight],
      ["172.31.0.2", 30081, client, 5555, true],
    );
  });

  test("from_netdev: an ICMP error about a translated flow reaches the right end", () => {
    const fixture = fixtures.netdev!;
    for (const [from, node, error, target] of [
      [client, "172.31.0.2", 3, "10.244.2.9"],
      ["2001:db8::9", "fd31::2", 1, undefined],
    ] as const) {
      const port = target === undefined ? 30080 : 30081;
      const request = {
        source: from,
        destination: node,
        sourcePort: 6666,
        destinationPort: port,
        tcpFlags: syn,
      };
      const sent = readPacket(fixture.run("from_netdev", buildPacket(request)).packet);
      // The client says that the reply was too big: it quotes what it got from the node port.
      const quote = buildIp({ source: node, destination: from, sourcePort: port, destinationPort: 6666 });
      const packet = buildPacket({
        source: from,
        destination: node,
        protocol: "icmp",
        icmpType: error,
        quote,
      });
      const out = fixture.run("from_netdev", packet);
      assert.equal(out.verdict, verdicts.redirect);
      const read = readPacket(out.packet);
      assert.equal(read.destination, sent.destination);
      assert.ok(read.checksumsRight);
      const quoted = readPacket(
        Buffer.concat([out.packet.subarray(0, 14), out.packet.subarray(from.includes(":") ? 62 : 42)]),
      );
      assert.deepEqual([quoted.source, quoted.sourcePort], [sent.destination, 8080]);
    }
  });
});
