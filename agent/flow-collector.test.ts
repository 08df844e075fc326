// SPDX-License-Identifier: Apache-2.0
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { addressBytes } from "../lib/addresses.ts";
import { run } from "../lib/run.ts";
import { maps, natEntry, natFlags, tuple } from "./datapath-layout.ts";
import { collectFlows, FlowStats, isStale } from "./flow-collector.ts";
import { buildPacket, readPacket } from "./packet-building.ts";
import { client, syn } from "./packet-cases.ts";
import { loadFixture, makeTestNode, type PacketFixture } from "./packet-fixture.ts";

const { NAT_CLOSING, NAT_ENDED, NAT_REPLIED, NAT_REVERSE } = natFlags;
const second = 1_000_000_000n;
const flow = (protocol: number, flags: number, ageSeconds: number) => {
  const none = {
    source: new Uint8Array(16),
    destination: new Uint8Array(16),
    sourcePort: 0,
    destinationPort: 0,
  };
  const to = { ...none, protocol, reserved: new Uint8Array(3) };
  return isStale({ to, flags, lastSeenNs: 0n }, BigInt(ageSeconds) * second);
};

test("a flow is given up after the time of its state", () => {
  for (const [protocol, flags, keeps] of [
    [6, NAT_REVERSE | NAT_REPLIED, 86_400],
    [6, 0, 86_400],
    [6, NAT_CLOSING, 3_600],
    [6, NAT_CLOSING | NAT_ENDED, 2],
    [6, NAT_REVERSE, 60],
    [17, NAT_REVERSE | NAT_REPLIED, 180],
    [17, NAT_REVERSE, 60],
    [132, 0, 180],
  ] as const)
    assert.deepEqual([flow(protocol, flags, keeps), flow(protocol, flags, keeps + 1)], [false, true]);
});

describe("the flow table", () => {
  const netns = `shtf${process.pid}`;
  let fixture: PacketFixture;
  before(async () => {
    await makeTestNode(netns);
    fixture = loadFixture("netdev.bpf.o", netns, 0, { mapSizes: { [maps.nat]: 1_024 } });
  });
  after(async () => {
    fixture?.object.close();
    await run("ip", ["netns", "delete", netns]);
  });
  const node = "172.31.0.2";
  const request = (sourcePort: number, tcpFlags: number = syn) =>
    readPacket(
      fixture.run(
        "from_netdev",
        buildPacket({ source: client, destination: node, sourcePort, destinationPort: 30081, tcpFlags }),
      ).packet,
    );
  const answer = (there: ReturnType<typeof request>, tcpFlags: number) =>
    fixture.run(
      "from_netdev",
      buildPacket({
        source: there.destination,
        destination: there.source,
        sourcePort: 8080,
        destinationPort: there.sourcePort,
        tcpFlags,
      }),
    );
  const flagsOf = (sourcePort: number): number => {
    const key = tuple.encode({
      source: addressBytes(client),
      destination: addressBytes(node),
      sourcePort,
      destinationPort: 30081,
      protocol: 6,
      reserved: new Uint8Array(3),
    });
    return natEntry.decode(fixture.object.map(maps.nat).get(key)!).flags;
  };
  const collect = (later = 0n) =>
    collectFlows(
      fixture.object.map(maps.nat),
      new FlowStats(fixture.object.map(maps.flowStats)),
      () => process.hrtime.bigint() + later * second,
    );

  test("a connection has ended when both ends have said so, or one has reset it", () => {
    const there = request(1_000);
    answer(there, 0x12);
    assert.equal(flagsOf(1_000) & (NAT_CLOSING | NAT_ENDED), 0);
    answer(there, 0x11);
    assert.equal(
      flagsOf(1_000) & (NAT_CLOSING | NAT_ENDED),
      0,
      "the server has no more to say, the client may",
    );
    request(1_000, 0x11);
    assert.equal(flagsOf(1_000) & (NAT_CLOSING | NAT_ENDED), NAT_CLOSING | NAT_ENDED);
    answer(request(1_001), 0x04);
    assert.equal(flagsOf(1_001) & NAT_ENDED, NAT_ENDED);
  });

  test("is rid of what is stale, keeps the rest, and counts", async () => {
    const there = request(1_002);
    answer(there, 0x12);
    const full = await collect();
    assert.deepEqual([full.entries, full.made, full.collected, full.evicted], [6, 6, 0, 0]);
    const ended = await collect(10n);
    assert.deepEqual([ended.entries, ended.collected], [2, 4]);
    const [later, last] = [await collect(3_700n), await collect(90_000n)];
    assert.deepEqual([later.entries, last.entries, last.evicted], [2, 0, 0]);
  });

  test("that is full loses the flows that were idle longest, and they are counted", async () => {
    for (let port = 0; port < 3_000; port++) request(10_000 + port);
    const { entries, evicted, made, collected } = await collect();
    assert.ok(entries <= 1_024 && evicted > 3_000, `${entries} there, ${evicted} evicted`);
    assert.equal(made - collected - evicted, entries);
    // The newest one is there.
    assert.equal(flagsOf(12_999) & NAT_REVERSE, 0);
  });
});
