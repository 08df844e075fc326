// SPDX-License-Identifier: Apache-2.0
// What policies cost: a packet, the first computation, and a change of one pod's labels.
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { KubeObject } from "../../lib/kube-object.ts";
import { waitFor } from "../../lib/wait.ts";
import { type BenchContext, type BenchResult, median, pairedRatio, undoAll } from "./bench.ts";
import { addressOf, inTier, isOn, type MadePolicies, makePolicies } from "./made-policies.ts";
import { ownNode, PolicySide } from "./policy-side.ts";
import { spread } from "./service-changes.ts";
import { mapsMemoryMiB, processMemory } from "./service-memory.ts";

const changesPerPlace = 150;
const changeDeadlineMs = 30_000;
const packetsPerRound = 2000;
const [synFlag, ackFlag] = [0x02, 0x10];

/** A node with many policies against one with few, and the agent's work for the first. */
export async function policies(context: BenchContext): Promise<BenchResult> {
  const finalizers: (() => Promise<void>)[] = [];
  try {
    const { counts, identities } = context.policies;
    const [few, many] = counts.map((count) => makePolicies(count, identities)) as [
      MadePolicies,
      MadePolicies,
    ];
    const open = async (letter: string, made: MadePolicies): Promise<PolicySide> => {
      const side = new PolicySide(context, `sp${letter}${process.pid}`, made);
      finalizers.push(() => side.close());
      await side.open();
      return side;
    };
    context.progress(`policies: ${many.policies.length} policies over ${identities} identities`);
    const manySide = await open("m", many);
    const heapBefore = heapMiB();
    const fullS = manySide.sync() / 1000;
    const memory = {
      controllerHeapMiB: rounded(heapMiB() - heapBefore),
      ...processMemory(),
      mapsMiB: mapsMemoryMiB(),
    };
    const { fill } = manySide.node;
    context.progress(`policies: in force ${JSON.stringify(fill)}`);
    const againMs = median(Array.from({ length: context.rounds }, () => manySide.sync()));
    const fewSide = await open("f", few);
    fewSide.sync();
    const packets = measurePackets(context, fewSide, manySide);
    const changes = {
      ownNode: await measureChanges(context, manySide, (pod) => isOn(pod, ownNode)),
      otherNodes: await measureChanges(context, manySide, (pod) => !isOn(pod, ownNode)),
    };
    return {
      ratios: {
        ...packets.ratios,
        policyFullSeconds: rounded(fullS),
        policyChangeOwnNodeP99Ms: changes.ownNode.p99,
        policyChangeOtherNodesP99Ms: changes.otherNodes.p99,
      },
      medians: {
        ...packets.medians,
        policyNothingChanged_ms: rounded(againMs),
        policyChangeOwnNodeP50_ms: changes.ownNode.p50,
        policyChangeOtherNodesP50_ms: changes.otherNodes.p50,
        ...Object.fromEntries(
          Object.entries({ ...memory, ...fill }).map(([name, one]) => [`policy_${name}`, one]),
        ),
      },
      goals: {
        ...Object.fromEntries(Object.keys(packets.ratios).map((name) => [name, { atMost: 1.1 }])),
        policyFullSeconds: { below: 5 },
        policyChangeOwnNodeP99Ms: { below: 500 },
        policyChangeOtherNodesP99Ms: { below: 500 },
      },
    };
  } finally {
    await undoAll(finalizers);
  }
}

/** Milliseconds from a pod with other labels until its number and everybody's policies are in the maps. */
async function measureChanges(
  context: BenchContext,
  side: PolicySide,
  isWanted: (pod: KubeObject) => boolean,
): Promise<{ p50: number; p99: number }> {
  const pods = side.made.pods.filter(isWanted);
  const step = Math.max(1, Math.floor(pods.length / changesPerPlace));
  const times: number[] = [];
  let failure: unknown;
  const work = context.parts.policies.coalesced(
    () => side.node.sync(),
    (error) => {
      failure = error;
    },
  );
  side.onDirty = () => work.trigger();
  try {
    for (let index = 0; index < changesPerPlace; index++) {
      if (index % 50 === 0) context.progress(`policies: change ${index} of ${changesPerPlace}`);
      const pod = pods[(index * step) % pods.length]!;
      const address = addressOf(pod);
      const before = side.node.numberOf(address);
      const start = performance.now();
      side.change(inTier(pod, 1 + Math.floor((index * step) / pods.length)));
      await waitFor(
        "a pod's new number",
        () => failure !== undefined || side.node.numberOf(address) !== before || undefined,
        { timeoutMs: changeDeadlineMs, intervalMs: 1, signal: context.signal },
      );
      if (failure !== undefined) throw failure;
      times.push(performance.now() - start);
    }
  } finally {
    side.onDirty = () => undefined;
    await work.stop();
  }
  return spread(times);
}

type Way = "egress" | "ingress";

/** Nanoseconds of packets of the first pod, on both nodes by turns. */
function measurePackets(
  context: BenchContext,
  few: PolicySide,
  many: PolicySide,
): { ratios: Record<string, number>; medians: Record<string, number> } {
  const samples = new Map<string, number[]>();
  const add = (key: string, value: number): void => {
    samples.set(key, [...(samples.get(key) ?? []), value]);
  };
  const kinds = (["egress", "ingress"] as const).flatMap((way) =>
    [true, false].map((isNew) => ({ way, isNew, name: `${isNew ? "new" : "established"}_${way}` })),
  );
  for (let round = 0; round <= context.rounds; round++) {
    context.progress(`policies: packets, round ${round} of ${context.rounds}`);
    for (const { way, isNew, name } of kinds) {
      const turns = [
        ["few", few],
        ["many", many],
      ] as const;
      for (const [which, side] of round % 2 === 0 ? turns : turns.toReversed()) {
        const ns = samplePackets(side, way, isNew);
        // The first round is for the caches.
        if (round > 0) add(`${name}_${which}`, ns);
      }
    }
  }
  const of = (key: string): number[] => samples.get(key)!;
  return {
    ratios: Object.fromEntries(
      kinds.map(({ name }) => [
        `policy_${name}_manyVsFew`,
        pairedRatio(of(`${name}_many`), of(`${name}_few`)),
      ]),
    ),
    medians: Object.fromEntries([...samples].map(([key, values]) => [`policy_${key}_ns`, median(values)])),
  };
}

let port = 1024;
function nextPort(): number {
  port = port >= 65_000 ? 1024 : port + 1;
  return port;
}

function samplePackets(side: PolicySide, way: Way, isNew: boolean): number {
  const { pods } = side.made;
  const own = addressOf(pods[0]!);
  const named = (namespace: string, app: string) =>
    pods
      .filter((pod) => pod.metadata.namespace === namespace && pod.metadata.labels!.app === app)
      .filter((pod) => !isOn(pod, ownNode))
      .map(addressOf);
  const peers = way === "egress" ? named("ns-1", "app-1") : named("ns-0", "app-1");
  const peer = peers[0]!;
  const packet = (sourcePort: number, tcpFlags: number) => ({
    source: way === "egress" ? own : peer,
    destination: way === "egress" ? peer : own,
    protocol: way === "egress" ? ("udp" as const) : ("tcp" as const),
    destinationPort: way === "egress" ? 53 : 8080,
    sourcePort,
    tcpFlags,
  });
  const established = nextPort();
  side.node.run(way, packet(established, synFlag));
  return middleMean(
    Array.from({ length: packetsPerRound }, () =>
      side.node.run(way, isNew ? packet(nextPort(), synFlag) : packet(established, ackFlag)),
    ),
  );
}

/** The mean of the middle half: the clock ticks too slowly for a median to tell a few nanoseconds. */
function middleMean(values: readonly number[]): number {
  const quarter = values.length >> 2;
  const middle = values.toSorted((a, b) => a - b).slice(quarter, values.length - quarter);
  return rounded(middle.reduce((sum, one) => sum + one, 0) / middle.length);
}

const rounded = (value: number): number => Math.round(value * 100) / 100;

/** What is in use after a collection. */
function heapMiB(): number {
  setFlagsFromString("--expose-gc");
  runInNewContext("gc")();
  return process.memoryUsage().heapUsed / 1024 / 1024;
}
