// SPDX-License-Identifier: Apache-2.0
// Hours of changes and load on two nodes: nothing may be lost, and nothing may grow.
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { KubeObject } from "../../lib/kube-object.ts";
import { sleep } from "../../lib/wait.ts";
import { BackendHistory } from "./backend-history.ts";
import {
  type BenchContext,
  type BenchResult,
  median,
  type ServiceControl,
  type ServiceMaps,
  undoAll,
} from "./bench.ts";
import type { FedInformer } from "./fed-informer.ts";
import {
  elsewhere,
  endpointsPerService,
  makeServices,
  makeSlice,
  serverPorts,
  servicePort,
} from "./made-services.ts";
import { feed, Judge, TurningTarget } from "./service-changes.ts";
import { mapsMemoryMiB, processMemory } from "./service-memory.ts";
import { Servers, type ServiceClient } from "./service-samples.ts";
import { poolSize, ShuntSide } from "./shunt-side.ts";
import { nowNs, SteadyLoad } from "./steady-load.ts";

const tickMs = 50;
const slicesPerTick = 3;
/** Ticks between a Service that goes or comes back. */
const ticksPerService = 10;
const mostAway = 20;
const targetNodePort = 30080;
const nodeAddress = "172.31.0.2";
const loads = { clusterIpPerSecond: 1000, nodePortPerSecond: 2500 };
/** More than this is growth: what a heap of this size moves by itself. */
const allowedGrowth = { heapMiB: 10, rssMiB: 40, mapsMiB: 1 };

interface Sample {
  seconds: number;
  heapMiB: number;
  rssMiB: number;
  mapsMiB: number;
}

/** Changes services and connects to them for so long; the verdict names what was lost or has grown. */
export async function soakServices(context: BenchContext, soakMs: number): Promise<BenchResult> {
  const finalizers: (() => Promise<void>)[] = [];
  try {
    const soak = await openSoak(context, finalizers, soakMs);
    const samples: Sample[] = [];
    const startedAt = performance.now();
    const sampleEveryMs = Math.min(60_000, soakMs / 8);
    for (let tick = 0; performance.now() - startedAt < soakMs; tick++) {
      soak.change(tick);
      soak.check();
      const passedMs = performance.now() - startedAt;
      if (passedMs >= (samples.length + 1) * sampleEveryMs) {
        const sample = takeSample(passedMs / 1000);
        samples.push(sample);
        context.progress(sampleLine(sample, soak.judges));
      }
      await sleep(Math.max(1, (tick + 1) * tickMs - (performance.now() - startedAt)), context.signal);
    }
    await sleep(500, context.signal);
    soak.check();
    return verdict(samples, soak.judges, soak.finish());
  } finally {
    await undoAll(finalizers);
  }
}

interface Soak {
  judges: Judge[];
  change(tick: number): void;
  check(): void;
  /** Puts back what is away and returns what then is in the maps and should not be, or is not and should. */
  finish(): string[];
}

async function openSoak(
  context: BenchContext,
  finalizers: (() => Promise<void>)[],
  soakMs: number,
): Promise<Soak> {
  const size = context.services.sizes.at(-1)!;
  const pool = ShuntSide.backends(poolSize);
  const side = new ShuntSide(context.parts, `sk${process.pid % 10000}`);
  finalizers.push(() => side.close());
  context.progress(`services: changing ${size} services on two nodes for ${Math.round(soakMs / 1000)} s`);
  await side.open(pool);
  const servers = new Servers(side.lab.netns("n2p1"));
  finalizers.push(() => servers.close());
  await servers.tellAddresses();
  const made = makeServices(size, pool.slice(0, endpointsPerService), { targetNodePort });
  const sources = feed(made);
  const nodes = ([1, 2] as const).map((node) => {
    const maps = side.maps(node);
    const nodeName = `n${node}`;
    return { maps, control: context.parts.services.control({ sources, maps, nodeName, onDirty: () => {} }) };
  });
  for (const { control } of nodes) control.sync();
  const before = nodes.map(({ control }) => JSON.stringify(control.fill));
  const target = new TurningTarget(sources.slices, size - 1, pool);
  const { pool: numbers, present } = target.numbers;
  const history = new BackendHistory(numbers, present);
  const away = new AwayServices(sources.services, sources.slices, size);
  await sleep(300, context.signal);
  const running = startLoads(side, made.target, history, soakMs + 60_000);
  finalizers.push(async () => {
    for (const { load } of running) await load.stop();
  });
  return {
    judges: running.map(({ judge }) => judge),
    change(tick) {
      const beganNs = nowNs();
      const change = target.turn(1);
      for (let count = 0; count < slicesPerTick; count++) away.changeOne(tick);
      if (tick % ticksPerService === 0) away.turn();
      for (const { control } of nodes) control.sync();
      history.changed(change, beganNs, nowNs());
    },
    check: () => {
      for (const { load } of running) load.check();
    },
    finish() {
      away.putBack();
      for (const { control } of nodes) control.sync();
      return nodes.flatMap(({ control, maps }, index) => leftovers(control, maps, before[index]!, index + 1));
    },
  };
}

function startLoads(
  side: ShuntSide,
  target: string,
  history: BackendHistory,
  mostMs: number,
): { load: SteadyLoad; judge: Judge }[] {
  const clusterIp = side.client(target, servicePort, true);
  const nodePort: ServiceClient = {
    ...{ address: nodeAddress, port: targetNodePort },
    command: (words) => ["nsenter", [`--net=${side.lab.netns("n2")}`, ...words]],
  };
  return (
    [
      [clusterIp, loads.clusterIpPerSecond],
      [nodePort, loads.nodePortPerSecond],
    ] as const
  ).map(([client, perSecond]) => {
    const judge = new Judge(history);
    const load = new SteadyLoad(client, { perSecond, mostMs, onConnection: (one) => judge.add(one) });
    return { load, judge };
  });
}

/** Services other than the target, of which some are away for a while. */
class AwayServices {
  readonly #services: FedInformer;
  readonly #slices: FedInformer;
  readonly #count: number;
  readonly #away: { service: KubeObject; slice: KubeObject }[] = [];

  constructor(services: FedInformer, slices: FedInformer, count: number) {
    this.#services = services;
    this.#slices = slices;
    this.#count = count;
  }

  /** Gives one of them other endpoints, unless it is away. */
  changeOne(turn: number): void {
    const index = this.#any();
    const slice = makeSlice(index, elsewhere(index, turn % 7), { port: serverPorts.target });
    if (this.#slices.get(keyOf(slice)) !== undefined) this.#slices.put(slice);
  }

  /** Takes one away, and when enough are away puts the first of them back. */
  turn(): void {
    const name = keyOf(this.#services.list()[this.#any()]!);
    const service = this.#services.get(name)!;
    const slice = this.#slices.get(`${name}-abcde`);
    const isOther = service.spec.type === "ClusterIP" && slice !== undefined;
    if (isOther && this.#services.items.size > this.#count / 2) {
      this.#away.push({ service, slice });
      this.#services.take(name);
      this.#slices.take(keyOf(slice));
    }
    if (this.#away.length > mostAway) this.#putFirst();
  }

  putBack(): void {
    while (this.#away.length > 0) this.#putFirst();
  }

  #putFirst(): void {
    const { service, slice } = this.#away.shift()!;
    this.#slices.put(slice);
    this.#services.put(service);
  }

  #any(): number {
    return Math.floor(Math.random() * Math.max(1, Math.min(this.#count - 2, this.#services.items.size)));
  }
}

const keyOf = ({ metadata }: KubeObject): string => `${metadata.namespace}/${metadata.name}`;

/** What a node's maps hold otherwise than its controller says, or otherwise than before all changes. */
function leftovers(control: ServiceControl, maps: ServiceMaps, before: string, node: number): string[] {
  const wrong = control.fill
    .map(({ map, entries }) => ({ map, entries, found: maps[map as keyof ServiceMaps].entries().length }))
    .filter(({ entries, found }) => entries !== found)
    .map(({ map, entries, found }) => `node ${node}: ${map} has ${found} entries, expected ${entries}`);
  if (JSON.stringify(control.fill) !== before)
    wrong.push(`node ${node}: the controller has ${JSON.stringify(control.fill)}, before it had ${before}`);
  return wrong;
}

let collect: (() => void) | undefined;
function takeSample(seconds: number): Sample {
  if (collect === undefined) {
    setFlagsFromString("--expose-gc");
    collect = runInNewContext("gc") as () => void;
  }
  collect();
  const heapMiB = Math.round((process.memoryUsage().heapUsed / 1024 / 1024) * 10) / 10;
  return { seconds, heapMiB, rssMiB: processMemory().rssMiB, mapsMiB: mapsMemoryMiB() };
}

function sampleLine({ seconds, heapMiB, rssMiB, mapsMiB }: Sample, judges: readonly Judge[]): string {
  const [clusterIp, nodePort] = judges.map(
    ({ fates }) => `${fates.served + fates.late} served, ${fates.dead} dead, ${fates.dropped} dropped`,
  );
  return `${String(Math.round(seconds)).padStart(6)} s: heap ${heapMiB} MiB, resident ${rssMiB} MiB, maps ${mapsMiB} MiB; ClusterIP ${clusterIp}; node port ${nodePort}`;
}

/** Growth from the second quarter to the last: the first is for caches to fill. */
export function growth(samples: readonly Sample[], key: Exclude<keyof Sample, "seconds">): number {
  const quarter = Math.max(1, Math.floor(samples.length / 4));
  const early = samples.slice(quarter, 2 * quarter).map((sample) => sample[key]);
  const late = samples.slice(-quarter).map((sample) => sample[key]);
  if (early.length === 0 || late.length === 0) return 0;
  return Math.round((median(late) - median(early)) * 10) / 10;
}

function verdict(samples: readonly Sample[], judges: readonly Judge[], left: readonly string[]): BenchResult {
  const total = (fate: "served" | "late" | "dead" | "dropped"): number =>
    judges.reduce((sum, { fates }) => sum + fates[fate], 0);
  const lost = total("dead") + total("dropped");
  const grown = {
    heapMiB: growth(samples, "heapMiB"),
    rssMiB: growth(samples, "rssMiB"),
    mapsMiB: growth(samples, "mapsMiB"),
  };
  const reasons = [
    ...(lost > 0 ? [`${lost} connections were lost`] : []),
    ...(Object.keys(grown) as (keyof typeof grown)[])
      .filter((key) => grown[key] > allowedGrowth[key])
      .map((key) => `${key} grew by ${grown[key]}, more than ${allowedGrowth[key]}`),
    ...left,
  ];
  const served = total("served") + total("late");
  return {
    ratios: { soakDroppedOrDead: lost, soakMapEntriesWrong: left.length },
    medians: {
      ...{ soak_connections_served: served, soak_connections_late: total("late") },
      ...{ soak_heap_growth_mib: grown.heapMiB, soak_rss_growth_mib: grown.rssMiB },
      soak_maps_growth_mib: grown.mapsMiB,
    },
    goals: { soakDroppedOrDead: { atMost: 0 }, soakMapEntriesWrong: { atMost: 0 } },
    table: [
      `${served} connections served, ${total("late")} of them on their way at a change`,
      `growth: heap ${grown.heapMiB} MiB, resident ${grown.rssMiB} MiB, maps ${grown.mapsMiB} MiB`,
      ...judges.flatMap(({ losses }) => losses),
      reasons.length === 0 ? "verdict: nothing lost, nothing grew" : `verdict: ${reasons.join("; ")}`,
    ],
    ...(reasons.length === 0 ? {} : { failure: reasons.join("; ") }),
  };
}
