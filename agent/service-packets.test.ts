// SPDX-License-Identifier: Apache-2.0
// What becomes of packets to services, by BPF_PROG_TEST_RUN: rejects, affinity, tables, SCTP, and those of pods.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { addressBytes, addressText } from "../lib/addresses.ts";
import { run } from "../lib/run.ts";
import { affinity, affinityKey, configFlags, maps } from "./datapath-layout.ts";
import { buildPacket, type PacketFields, type ReadPacket, readPacket } from "./packet-building.ts";
import { client, pod, pod6, syn, verdicts } from "./packet-cases.ts";
import { loadFixture, makeTestNode, type PacketFixture } from "./packet-fixture.ts";

const netns = `shts${process.pid}`;
const node = "172.31.0.2";
const protocols = ["tcp", "udp", "sctp"] as const;

describe("packets to services", () => {
  let netdev: PacketFixture;
  let fromPods: PacketFixture;
  let overlay: PacketFixture;
  const open = (object: string) => loadFixture(object, netns, configFlags.CONFIG_POD_SERVICES);
  before(async () => {
    await makeTestNode(netns);
    [netdev, fromPods, overlay] = ["netdev", "pod", "overlay"].map((name) => open(`${name}.bpf.o`)) as [
      PacketFixture,
      PacketFixture,
      PacketFixture,
    ];
  });
  after(async () => {
    for (const fixture of [netdev, fromPods, overlay]) fixture?.object.close();
    await run("ip", ["netns", "delete", netns]);
  });

  const redirected = (fixture: PacketFixture, program: string, packet: PacketFields): ReadPacket => {
    const result = fixture.run(program, buildPacket(packet));
    assert.equal(result.verdict, verdicts.redirect);
    const read = readPacket(result.packet);
    assert.ok(read.checksumsRight, "checksums");
    return read;
  };
  const ends = ({ source, sourcePort, destination, destinationPort }: ReadPacket) =>
    `${source} ${sourcePort} > ${destination} ${destinationPort}`;
  /** The flows that one program made, for another object that has maps of its own. */
  const share = (from: PacketFixture, to: PacketFixture) => {
    for (const name of [maps.nat, maps.translated])
      for (const [key, value] of from.object.map(name).entries()) to.object.map(name).set(key, value);
  };

  describe("without backends", () => {
    for (const [title, source, destination] of [
      ["IPv4", client, node],
      ["IPv6", "2001:db8::9", "fd31::2"],
    ] as const) {
      const packet = { source, destination, sourcePort: 5555, destinationPort: 30082, ttl: 9 };

      test(`a connection by ${title} is reset`, () => {
        const sent = buildPacket({ ...packet, tcpFlags: syn });
        const sequence = 0x01020304;
        const at = sent.length - 5 - 20;
        // A sequence number, and the checksum that goes with it.
        sent.writeUInt32BE(sequence, at + 4);
        const sum = sent.readUInt16BE(at + 16) - 0x0102 - 0x0304;
        sent.writeUInt16BE(sum <= 0 ? sum + 0xffff : sum, at + 16);
        assert.ok(readPacket(sent).checksumsRight);
        const result = netdev.run("from_netdev", sent);
        assert.equal(result.verdict, verdicts.redirect);
        const read = readPacket(result.packet);
        assert.equal(ends(read), `${destination} 30082 > ${source} 5555`);
        assert.deepEqual(
          [read.destinationMac, read.sourceMac],
          [readPacket(sent).sourceMac, "02:00:00:00:00:01"],
        );
        // RST and ACK; SYN and five bytes of data are acknowledged.
        assert.deepEqual(
          [read.l4[13], read.l4.readUInt32BE(4), read.l4.readUInt32BE(8)],
          [0x14, 0, sequence + 6],
        );
        assert.deepEqual([read.ttl, read.checksumsRight], [64, true]);
      });

      test(`a segment of a connection by ${title} is reset from where it is`, () => {
        const read = redirected(netdev, "from_netdev", { ...packet, tcpFlags: 0x10 });
        assert.deepEqual([read.l4[13], read.l4.readUInt32BE(4)], [0x04, 0]);
      });

      for (const protocol of ["udp", "sctp"] as const)
        test(`${protocol} by ${title} is told that the port is unreachable`, () => {
          const sent = buildPacket({ ...packet, protocol, payload: Buffer.alloc(200, 7) });
          const result = netdev.run("from_netdev", sent);
          assert.equal(result.verdict, verdicts.redirect);
          const read = readPacket(result.packet);
          const v6 = source.includes(":");
          assert.deepEqual(
            [read.source, read.destination, read.protocol],
            [destination, source, v6 ? 58 : 1],
          );
          assert.deepEqual([...read.l4.subarray(0, 2)], v6 ? [1, 4] : [3, 3]);
          // The quoted packet, as far as its ports.
          const quoted = (v6 ? 40 : 20) + 8;
          assert.deepEqual(read.l4.subarray(8), sent.subarray(14, 14 + quoted));
          assert.ok(read.checksumsRight);
        });
    }

    test("a pod that asks by packets is told too", () => {
      const packet = { source: pod, destination: "10.96.0.4", sourcePort: 5555, tcpFlags: syn };
      const read = redirected(fromPods, "from_pod", packet);
      assert.deepEqual([ends(read), read.l4[13]], [`10.96.0.4 80 > ${pod} 5555`, 0x14]);
    });
  });

  test("SCTP is translated with its checksum, and back", () => {
    const fixture = open("netdev.bpf.o");
    try {
      const packet = { source: client, destination: node, sourcePort: 5555, protocol: "sctp" } as const;
      for (const size of [0, 4, 1000, 1300]) {
        const payload = Buffer.from(Array.from({ length: size }, (_, index) => (index * 31) & 255));
        const there = redirected(fixture, "from_netdev", { ...packet, destinationPort: 30081, payload });
        assert.equal(`${there.destination} ${there.destinationPort}`, "10.244.2.9 8080");
        const back = redirected(fixture, "from_netdev", {
          source: "10.244.2.9",
          destination: there.source,
          sourcePort: 8080,
          destinationPort: there.sourcePort,
          protocol: "sctp",
          chunk: 2,
          payload,
        });
        assert.equal(ends(back), `${node} 30081 > ${client} 5555`);
      }
    } finally {
      fixture.object.close();
    }
  });

  describe("choosing", () => {
    const backendOf = (fixture: PacketFixture, destination: string, source: string, sourcePort: number) =>
      redirected(fixture, "from_netdev", { source, destination, sourcePort, tcpFlags: syn }).destination;
    const ports = Array.from({ length: 40 }, (_, index) => 2000 + index);

    test("spreads connections, and with a table in the same way on every node", () => {
      const other = open("netdev.bpf.o");
      try {
        const chosen = ports.map((port) => backendOf(netdev, "198.51.100.9", client, port));
        assert.ok(new Set(chosen).size > 10);
        assert.deepEqual(
          ports.map((port) => backendOf(other, "198.51.100.9", client, port)),
          chosen,
        );
      } finally {
        other.object.close();
      }
    });

    test("keeps a client with affinity, until its time is over or its backend has gone", () => {
      const fixture = open("netdev.bpf.o");
      try {
        const sticky = (source: string, from = 0) =>
          ports.slice(from, from + 12).map((port) => backendOf(fixture, "198.51.100.10", source, port));
        const [first, ...others] = sticky(client);
        assert.deepEqual(new Set(others), new Set([first]));
        const clients = ports.map((_, index) => `203.0.113.${index + 10}`);
        assert.ok(new Set(clients.map((one) => sticky(one)[0])).size > 5);
        const table = fixture.object.map(maps.affinity);
        const key = affinityKey.encode({ client: addressBytes(client), serviceId: 21, isSocket: 0 });
        const { backendId, lastUsedNs } = affinity.decode(table.get(key)!);
        const seen = (ago: bigint, id: number) =>
          table.set(key, affinity.encode({ lastUsedNs: lastUsedNs - ago, backendId: id }));
        // 601 seconds ago is too long, 300 is not.
        const another = backendId === 2100 ? 2101 : 2100;
        seen(300n * 1_000_000_000n, another);
        assert.equal(sticky(client, 12)[0], `10.244.2.${(another % 100) + 10}`);
        seen(0n, 2199);
        assert.ok(sticky(client, 24)[0]?.startsWith("10.244.2."), "one that is there");
        assert.notEqual(affinity.decode(table.get(key)!).backendId, 2199);
        const before = affinity.decode(table.get(key)!).backendId;
        seen(601n * 1_000_000_000n, before === 2105 ? 2106 : 2105);
        sticky(client, 28);
        assert.notEqual(affinity.decode(table.get(key)!).backendId, before === 2105 ? 2106 : 2105);
      } finally {
        fixture.object.close();
      }
    });

    test("with affinity and the policy Local keeps to this node's backends", () => {
      const chosen = ports.map((port) => backendOf(netdev, "198.51.100.11", client, port));
      assert.equal(new Set(chosen).size, 1);
      assert.ok(["10.244.1.5", "10.244.1.6"].includes(chosen[0]!));
    });
  });

  describe("with direct server return", () => {
    const { CONFIG_DSR_TCP, CONFIG_DSR_UDP } = configFlags;
    const dsr = (object: string, flags: number = CONFIG_DSR_TCP | CONFIG_DSR_UDP) =>
      loadFixture(object, netns, flags);
    /** The node on which the backend is. */
    const backendNode = (object: string, address: string) => {
      const fixture = dsr(object);
      const endpoints = fixture.object.map(maps.endpoints);
      endpoints.set(addressBytes(address), endpoints.get(addressBytes(pod))!);
      return fixture;
    };

    for (const [title, source, destination, backend, grows] of [
      ["IPv4", client, node, "10.244.2.9", 8],
      ["IPv6", "2001:db8::9", "fd31::2", "fd10:244:0:2::9", 24],
    ] as const)
      for (const protocol of ["tcp", "udp"] as const)
        test(`${protocol} by ${title} keeps its client, and is answered by the backend's node`, () => {
          const [front, arriving, leaving] = [
            dsr("netdev.bpf.o"),
            backendNode("netdev.bpf.o", backend),
            backendNode("pod.bpf.o", backend),
          ];
          try {
            const packet = { source, destination, sourcePort: 5555, destinationPort: 30081, protocol };
            const sent = buildPacket({ ...packet, tcpFlags: syn });
            const told = front.run("from_netdev", sent);
            assert.equal(told.verdict, verdicts.redirect);
            assert.equal(told.packet.length, sent.length + grows);
            // The next node believes it, and takes it off again.
            const arrived = arriving.run("from_netdev", told.packet);
            assert.equal(arrived.verdict, verdicts.redirect);
            assert.equal(arrived.packet.length, sent.length);
            const read = readPacket(arrived.packet);
            assert.deepEqual([ends(read), read.checksumsRight], [`${source} 5555 > ${backend} 8080`, true]);
            // What follows on a connection says nothing more; datagrams go on to.
            const next = front.run("from_netdev", buildPacket({ ...packet, tcpFlags: 0x10 }));
            assert.equal(next.packet.length, sent.length + (protocol === "udp" ? grows : 0));
            share(arriving, leaving);
            const answer = {
              source: backend,
              destination: source,
              sourcePort: 8080,
              destinationPort: 5555,
              protocol,
            };
            const back = redirected(leaving, "from_pod", { ...answer, tcpFlags: 0x12 });
            assert.equal(ends(back), `${destination} 30081 > ${source} 5555`);
          } finally {
            for (const fixture of [front, arriving, leaving]) fixture.object.close();
          }
        });

    test("a pod's option is not believed", () => {
      const [front, arriving] = [dsr("netdev.bpf.o"), backendNode("netdev.bpf.o", "10.244.2.9")];
      try {
        const request = {
          source: client,
          destination: node,
          sourcePort: 5555,
          destinationPort: 30081,
          tcpFlags: syn,
        };
        const forged = Buffer.from(front.run("from_netdev", buildPacket(request)).packet);
        // As if a pod of the cluster had sent it; the checksum of the header does not matter here.
        forged.set([10, 244, 4, 7], 26);
        const arrived = arriving.run("from_netdev", forged);
        assert.equal(arrived.packet.length, forged.length);
        assert.equal(arriving.object.map(maps.nat).entries().length, 0);
      } finally {
        for (const fixture of [front, arriving]) fixture.object.close();
      }
    });

    test("hybrid: what is not to return directly is masqueraded", () => {
      const front = dsr("netdev.bpf.o", CONFIG_DSR_TCP);
      try {
        const packet = { source: client, destination: node, sourcePort: 5555, destinationPort: 30081 };
        assert.equal(redirected(front, "from_netdev", { ...packet, protocol: "udp" }).source, "10.244.1.1");
        const told = front.run("from_netdev", buildPacket({ ...packet, tcpFlags: syn })).packet;
        assert.equal(readPacket(told).source, client);
      } finally {
        front.object.close();
      }
    });
  });

  describe("of a pod", () => {
    for (const protocol of protocols) {
      const packet = { source: pod, sourcePort: 5555, destinationPort: 80, protocol, tcpFlags: syn };
      const answer = {
        destination: pod,
        destinationPort: 5555,
        sourcePort: 8080,
        protocol,
        tcpFlags: 0x12,
        chunk: 2,
      };

      test(`${protocol} reaches a pod here under its own address, and the answer comes from the service`, () => {
        const there = redirected(fromPods, "from_pod", { ...packet, destination: "10.96.0.1" });
        assert.equal(ends(there), `${pod} 5555 > 10.244.1.6 8080`);
        const fixture = open("pod.bpf.o");
        try {
          share(fromPods, fixture);
          // The fixture's first pod is where packets "come in": the answer is sent as that pod's.
          const reply = fixture.run("to_pod", buildPacket({ ...answer, source: "10.244.1.6" }));
          assert.equal(ends(readPacket(reply.packet)), `10.96.0.1 80 > ${pod} 5555`);
          assert.ok(readPacket(reply.packet).checksumsRight);
        } finally {
          fixture.object.close();
        }
      });

      test(`${protocol} reaches a pod elsewhere, and the answer comes from the service`, () => {
        const there = redirected(fromPods, "from_pod", { ...packet, destination: "10.96.0.2" });
        assert.equal(ends(there), `${pod} 5555 > 10.244.2.9 8080`);
        share(fromPods, netdev);
        const back = redirected(netdev, "from_netdev", { ...answer, source: "10.244.2.9" });
        assert.equal(ends(back), `10.96.0.2 80 > ${pod} 5555`);
      });

      test(`${protocol} to a service that it is itself comes from the node`, () => {
        const there = redirected(fromPods, "from_pod", { ...packet, destination: "10.96.0.3" });
        assert.equal(`${there.source} > ${there.destination}`, `10.244.1.1 > ${pod}`);
        const back = redirected(fromPods, "from_pod", {
          source: pod,
          destination: "10.244.1.1",
          sourcePort: 8080,
          destinationPort: there.sourcePort,
          protocol,
          tcpFlags: 0x12,
          chunk: 2,
        });
        assert.equal(ends(back), `10.96.0.3 80 > ${pod} 5555`);
      });

      test(`${protocol} reaches a server of the node, and of another node under this node's address`, () => {
        const own = fromPods.run("from_pod", buildPacket({ ...packet, destination: "10.96.0.5" }));
        assert.equal(own.verdict, verdicts.next);
        assert.equal(ends(readPacket(own.packet)), `${pod} 5555 > ${node} 8080`);
        const there = redirected(fromPods, "from_pod", { ...packet, destination: "10.96.0.6" });
        assert.equal(`${there.source} > ${there.destination}`, `${node} > 172.31.0.3`);
      });
    }

    test("IPv6 likewise", () => {
      const packet = { source: pod6, destination: "fd96::1", sourcePort: 5555, protocol: "udp" } as const;
      const there = redirected(fromPods, "from_pod", packet);
      assert.equal(addressText(addressBytes(there.destination)), "fd10:244:0:1::6");
    });

    test("of the node itself SCTP is translated as it leaves, and back", () => {
      const fixture = open("netdev.bpf.o");
      try {
        const packet = { source: node, sourcePort: 5557, destinationPort: 80, protocol: "sctp" } as const;
        const here = redirected(fixture, "to_netdev", { ...packet, destination: "10.96.0.1" });
        assert.equal(ends(here), `${node} 5557 > 10.244.1.6 8080`);
        const there = redirected(fixture, "to_netdev", { ...packet, destination: "10.96.0.2" });
        assert.equal(there.destination, "10.244.2.9");
        // Every packet of the association goes to the same backend, under the same port.
        const next = redirected(fixture, "to_netdev", { ...packet, destination: "10.96.0.2", chunk: 0 });
        assert.equal(ends(next), ends(there));
        const back = fixture.run(
          "from_netdev",
          buildPacket({
            source: there.destination,
            destination: there.source,
            sourcePort: 8080,
            destinationPort: there.sourcePort,
            protocol: "sctp",
            chunk: 2,
          }),
        );
        assert.equal(ends(readPacket(back.packet)), `10.96.0.2 80 > ${node} 5557`);
        const none = fixture.run("to_netdev", buildPacket({ ...packet, destination: "192.0.2.33" }));
        assert.equal(none.verdict, verdicts.next);
      } finally {
        fixture.object.close();
      }
    });

    test("only SCTP goes to node ports by packets: sockets translate the rest", () => {
      const packet = { source: pod, destination: node, sourcePort: 5556, destinationPort: 30081 };
      assert.equal(
        redirected(fromPods, "from_pod", { ...packet, protocol: "sctp" }).destination,
        "10.244.2.9",
      );
      const result = fromPods.run("from_pod", buildPacket({ ...packet, tcpFlags: syn }));
      assert.equal(result.verdict, verdicts.next);
    });
  });
});
