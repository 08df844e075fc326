// SPDX-License-Identifier: Apache-2.0
// Every program path by BPF_PROG_TEST_RUN: a packet in, the verdict, the reason counted and the packet out.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { run } from "../lib/run.ts";
import { configFlags, directions, maps, reasons } from "./datapath-layout.ts";
import type { BpfMap } from "./libbpf.ts";
import { buildIp, buildPacket, readPacket } from "./packet-building.ts";
import { type Case, client, fromNetdev, fromPod, overlay, pod, pod6, syn, verdicts } from "./packet-cases.ts";
import { loadFixture, makeTestNode, type PacketFixture } from "./packet-fixture.ts";

const netns = `shtp${process.pid}`;
const ingress = directions.DIRECTION_INGRESS;
const egress = directions.DIRECTION_EGRESS;

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
  const { l4: _after, ...out } = readPacket(result.packet);
  const { l4: _before, ...found } = readPacket(packet);
  const expected = { ...found, ...one.becomes };
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

  test("a client that leaves a node port for its backend, from the same port, gets untranslated answers", () => {
    const [node, source] = ["172.31.0.2", "10.244.3.9"];
    for (const protocol of ["tcp", "udp"] as const)
      for (const [program, object, nodePort, backend] of [
        ["to_netdev", "netdev", 30084, node],
        ["from_pod", "pod", 30080, pod],
      ] as const) {
        const [incoming, outgoing] = [
          loadFixture("netdev.bpf.o", netns),
          loadFixture(`${object}.bpf.o`, netns),
        ];
        try {
          const shareFlows = () => {
            const [from, to] = [incoming, outgoing].map((fixture) => fixture.object.map(maps.nat)) as [
              BpfMap,
              BpfMap,
            ];
            to.deleteMany(to.entries().map(([key]) => key));
            for (const [key, value] of from.entries()) to.set(key, value);
          };
          const slot = new Uint8Array(Uint32Array.of(1).buffer);
          const marked = new Uint8Array(BigUint64Array.of(1n).buffer);
          for (const fixture of [incoming, outgoing]) fixture.object.map(maps.translated).set(slot, marked);
          const send = (destination: string, destinationPort: number) =>
            incoming.run(
              "from_netdev",
              buildPacket({
                source,
                destination,
                sourcePort: 4444,
                destinationPort,
                protocol,
                tcpFlags: syn,
              }),
            );
          const answerPort = () => {
            shareFlows();
            const answer = { source: backend, destination: source, sourcePort: 8080, destinationPort: 4444 };
            return readPacket(
              outgoing.run(program, buildPacket({ ...answer, protocol, tcpFlags: 0x12 })).packet,
            ).sourcePort;
          };
          send(node, nodePort);
          assert.equal(answerPort(), nodePort);
          send(backend, 8080);
          assert.equal(answerPort(), 8080, `${protocol} ${program}`);
          send(node, nodePort);
          assert.equal(answerPort(), nodePort, "and back again");
        } finally {
          for (const fixture of [incoming, outgoing]) fixture.object.close();
        }
      }
  });

  test("from_netdev: in a handover, a connection that did not begin here is left to netfilter", () => {
    const { CONFIG_HANDOVER } = configFlags;
    const request = { source: client, destination: "172.31.0.2", sourcePort: 7777, destinationPort: 30080 };
    for (const [flags, later] of [
      [0, verdicts.redirect],
      [CONFIG_HANDOVER, verdicts.next],
    ] as const) {
      const fixture = loadFixture("netdev.bpf.o", netns, flags);
      try {
        const verdictOf = (tcpFlags: number) =>
          fixture.run("from_netdev", buildPacket({ ...request, tcpFlags })).verdict;
        assert.equal(verdictOf(0x10), later);
        assert.equal(verdictOf(syn), verdicts.redirect);
        assert.equal(verdictOf(0x10), verdicts.redirect); // ours from its first packet on
      } finally {
        fixture.object.close();
      }
    }
  });

  test("from_netdev: what netfilter kept in a handover, it keeps after it", () => {
    const request = { source: client, destination: "172.31.0.2", sourcePort: 7778, destinationPort: 30080 };
    const handover = loadFixture("netdev.bpf.o", netns, configFlags.CONFIG_HANDOVER);
    const after = loadFixture("netdev.bpf.o", netns);
    try {
      handover.run("from_netdev", buildPacket({ ...request, tcpFlags: 0x10 }));
      const remembered = handover.object.map(maps.nat).entries();
      assert.equal(remembered.length, 1);
      for (const [key, value] of remembered) after.object.map(maps.nat).set(key, value);
      const verdictOf = (tcpFlags: number) =>
        after.run("from_netdev", buildPacket({ ...request, tcpFlags })).verdict;
      assert.equal(verdictOf(0x10), verdicts.next);
      // A client may use its port again.
      assert.equal(verdictOf(syn), verdicts.redirect);
      assert.equal(verdictOf(0x10), verdicts.redirect);
    } finally {
      handover.object.close();
      after.object.close();
    }
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
