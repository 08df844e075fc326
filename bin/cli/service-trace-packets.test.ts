// SPDX-License-Identifier: Apache-2.0
// What a trace says against what the programs do with real packets, for every service of the packet tests.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { configFlags, directions, maps, reasons, serviceKey } from "../../agent/datapath-layout.ts";
import { buildPacket } from "../../agent/packet-building.ts";
import { client, pod, pod6, syn } from "../../agent/packet-cases.ts";
import { loadFixture, makeTestNode, type PacketFixture } from "../../agent/packet-fixture.ts";
import type { ServiceView } from "../../agent/service-reader.ts";
import { viewServices } from "../../agent/service-view.ts";
import { run } from "../../lib/run.ts";
import { type TraceNode, type TracePath, traceService } from "./service-trace.ts";

const netns = `shtt${process.pid}`;
const node: TraceNode = { name: "n1", services: "on", podNetwork: "active", nodePortRange: [30_000, 32_767] };
const flowsEach = 60;

/** What becomes of clients of one kind, by the reasons that the programs count. */
interface Way {
  object: string;
  program: string;
  direction: number;
  protocol: "tcp" | "sctp";
  number: number;
  from: RegExp;
  sources: { ipv4: string; ipv6: string; inRange?: string };
}
const ways: Record<string, Way> = {
  "from outside": {
    ...{ object: "netdev.bpf.o", program: "from_netdev", direction: directions.DIRECTION_INGRESS },
    ...{ protocol: "tcp", number: 6, from: /from outside/ },
    sources: { ipv4: client, ipv6: "2001:db8::9", inRange: "192.0.2.70" },
  },
  "of pods": {
    ...{ object: "pod.bpf.o", program: "from_pod", direction: directions.DIRECTION_EGRESS },
    ...{ protocol: "sctp", number: 132, from: /packet of a pod/ },
    sources: { ipv4: pod, ipv6: pod6 },
  },
};

/** The services of one protocol, read from the kernel's maps. */
function viewOf({ object }: PacketFixture, protocol: number): Promise<ServiceView[]> {
  const services = object.map(maps.services);
  const entries = () => services.entries().filter(([key]) => serviceKey.decode(key).protocol === protocol);
  const ofProtocol = { get: (key: Uint8Array) => services.get(key), entries };
  return viewServices((name) => (name === maps.services ? ofProtocol : object.map(name)), {
    ...{ groups: [], problems: [] },
  });
}

describe("a trace and the programs", () => {
  before(() => makeTestNode(netns));
  after(async () => void (await run("ip", ["netns", "delete", netns])));

  for (const [title, way] of Object.entries(ways))
    test(`agree about packets ${title}`, async () => {
      const fixture = loadFixture(way.object, netns, configFlags.CONFIG_POD_SERVICES);
      try {
        const views = await viewOf(fixture, way.number);
        const paths = views
          // Pods are in no test service's ranges.
          .filter(({ sourceRanges }) => sourceRanges.length === 0 || way.sources.inRange !== undefined)
          .map((view) => [view, pathOf(view, way)] as const);
        for (const [view, path] of paths) checkOutcome(fixture, way, view, path);
        const later = new Map((await viewOf(fixture, way.number)).map((view) => [view.id, view]));
        for (const [view, path] of paths) checkCounts(later.get(view.id)!, path);
        const seen = new Set(paths.map(([, { outcome }]) => outcome));
        for (const outcome of ["backend", "rejected", "not served"] as const)
          assert.ok(seen.has(outcome), `no service of the packet tests ends with ${outcome}`);
      } finally {
        fixture.object.close();
      }
    });
});

function pathOf(view: ServiceView, { from }: Way): TracePath {
  const [trace, ...rest] = traceService(view, node);
  assert.equal(rest.length, 0);
  return trace!.paths.find((path) => from.test(path.from))!;
}

/** Sends flows, and compares what the programs counted with what the trace says. */
function checkOutcome(fixture: PacketFixture, way: Way, view: ServiceView, path: TracePath): void {
  const { address, port, nodeAddresses } = view.frontends[0]!;
  const outcomes: Record<string, number[]> = {
    backend: [reasons.FORWARD_SERVICE],
    rejected: [reasons.FORWARD_REJECTED],
    dropped: [reasons.DROP_NO_BACKEND, reasons.DROP_SOURCE_RANGE],
  };
  const counted = (): Record<string, number> =>
    Object.fromEntries(
      Object.entries(outcomes).map(([name, list]) => [
        name,
        list.reduce((sum, reason) => sum + fixture.counted(way.direction, reason), 0),
      ]),
    );
  const { ipv4, ipv6, inRange = ipv4 } = way.sources;
  const source = address.includes(":") ? ipv6 : view.sourceRanges.length > 0 ? inRange : ipv4;
  // Node ports answer on the first address that the view names.
  const destination =
    nodeAddresses?.find((own) => own.startsWith("172.") || own.startsWith("fd31")) ?? address;
  const earlier = counted();
  for (let flow = 0; flow < flowsEach; flow++) {
    const packet = { source, destination, sourcePort: 5_000 + flow, destinationPort: port, ttl: 9 };
    fixture.run(
      way.program,
      buildPacket({
        ...packet,
        protocol: way.protocol,
        ...(way.protocol === "tcp" ? { tcpFlags: syn } : {}),
      }),
    );
  }
  const now = counted();
  const happened = Object.keys(outcomes).filter((name) => now[name] !== earlier[name]);
  assert.deepEqual(happened, path.outcome === "not served" ? [] : [path.outcome], `${address} port ${port}`);
  if (happened.length > 0) assert.equal(now[happened[0]!]! - earlier[happened[0]!]!, flowsEach);
}

/** Compares who was chosen with who should be. */
function checkCounts(view: ServiceView, path: TracePath): void {
  const title = `${view.frontends[0]?.address} port ${view.frontends[0]?.port}`;
  const isChosen = path.outcome === "backend";
  assert.equal(view.connections, isChosen ? flowsEach : 0, title);
  // A choice without a backend is tried twice and counted once.
  assert.equal(
    view.refused,
    path.outcome === "rejected" || path.outcome === "dropped" ? flowsEach : 0,
    title,
  );
  const chosen = view.backends.filter(({ connections }) => connections > 0);
  const expected = new Set(path.backends.map(({ address }) => address));
  for (const { address } of chosen) assert.ok(expected.has(address), `${title} went to ${address}`);
  if (view.affinitySeconds > 0) assert.equal(chosen.length, 1, title);
  else if (expected.size > 10) assert.ok(chosen.length > expected.size / 2, title);
}
