// SPDX-License-Identifier: Apache-2.0
// What a change of endpoints does while clients connect: how soon it counts, and whether it costs a connection.
import { getSystemErrorName } from "node:util";
import { sleep, waitFor } from "../../lib/wait.ts";
import { BackendHistory, type Fate } from "./backend-history.ts";
import { type BenchContext, quantile, type ServiceControl, type ServiceSources } from "./bench.ts";
import { FedInformer } from "./fed-informer.ts";
import {
  elsewhere,
  endpointsPerService,
  type MadeServices,
  makeSlice,
  serverPorts,
  servicePort,
} from "./made-services.ts";
import type { ServiceClient } from "./service-samples.ts";
import type { ShuntSide } from "./shunt-side.ts";
import { type Connection, nowNs, SteadyLoad } from "./steady-load.ts";

const connectionsPerSecond = 2000;
const busyChangesPerSecond = 100;
const changesPerSecond = 200;
const mostEffectSamples = 300;
const effectDeadlineMs = 10_000;
const mostLosses = 20;

const lastByte = (address: string): number => Number(address.split(".")[3]);

/** The sources that a controller reads, holding these Services. */
export function feed({ services, slices }: MadeServices): ServiceSources {
  const sources = { services: new FedInformer(), slices: new FedInformer(), pods: new FedInformer() };
  for (const service of services) sources.services.put(service);
  for (const slice of slices) sources.slices.put(slice);
  return sources;
}

/** Replaces the oldest endpoint of the target by the one of the pool that has been away longest. */
export class TurningTarget {
  readonly #slices: FedInformer;
  readonly #index: number;
  readonly #pool: string[];

  /** `pool`: addresses of the server's pod, the first five of them in use. */
  constructor(slices: FedInformer, index: number, pool: readonly string[]) {
    this.#slices = slices;
    this.#index = index;
    this.#pool = [...pool];
  }

  /** Numbers of all that may be behind the target, and of those that are. */
  get numbers(): { pool: number[]; present: number[] } {
    const pool = this.#pool.map(lastByte);
    return { pool, present: pool.slice(0, endpointsPerService) };
  }

  /** Moves on by this many endpoints. */
  turn(count: number): { added: number[]; removed: number[] } {
    const removed = this.#pool.splice(0, count);
    this.#pool.push(...removed);
    const present = this.#pool.slice(0, endpointsPerService);
    this.#slices.put(makeSlice(this.#index, present, { port: serverPorts.target }));
    return { added: present.slice(-count).map(lastByte), removed: removed.map(lastByte) };
  }
}

/** Milliseconds from a change to its effect, and what became of connections during changes. */
export interface ChangeResult {
  restMs: number[];
  busyMs: number[];
  changes: number;
  fates: Record<Fate, number>;
  slowestConnectMs: number;
  /** What happened to those that were lost, a line each. */
  losses: readonly string[];
}

/** Measures changes of the last Service of `made`, which the side's maps hold. */
export async function measureChanges(
  context: BenchContext,
  side: ShuntSide,
  made: MadeServices,
  pool: readonly string[],
): Promise<ChangeResult> {
  const sources = feed(made);
  const client = side.client(made.target, servicePort, true);
  const maps = side.maps(1);
  const parts = context.parts.services;
  parts.clear(maps);
  let changed = (): void => undefined;
  const control = parts.control({ sources, maps, nodeName: "n1", onDirty: () => changed() });
  control.sync();
  let failure: unknown;
  const work = parts.coalesced(
    () => control.sync(),
    (error) => {
      failure = error;
    },
  );
  const target = new TurningTarget(sources.slices, made.services.length - 1, pool);
  const check = (): void => {
    if (failure !== undefined) throw failure;
  };
  const samples = Math.min(mostEffectSamples, context.services.changes);
  try {
    changed = () => work.trigger();
    context.progress(`services: ${samples} changes at rest`);
    const restMs = await timeEffects(context, { client, target, samples, check });
    context.progress(`services: ${samples} changes among ${busyChangesPerSecond} others a second`);
    const stopOthers = changeOthers(sources.slices, made.services.length);
    const busyMs = await timeEffects(context, { client, target, samples, check }).finally(stopOthers);
    await work.stop();
    changed = () => undefined;
    control.sync();
    context.progress(`services: ${context.services.changes} changes under load`);
    return { restMs, busyMs, ...(await loseNothing(context, { client, target, control })) };
  } finally {
    await work.stop();
  }
}

/** Changes all endpoints of the target again and again, and waits each time for a connection to the new ones. */
async function timeEffects(
  context: BenchContext,
  options: { client: ServiceClient; target: TurningTarget; samples: number; check: () => void },
): Promise<number[]> {
  const { client, target, samples, check } = options;
  const timesMs: number[] = [];
  let wanted: { numbers: Set<number>; sinceNs: number; seen: (connection: Connection) => void } | undefined;
  const load = new SteadyLoad(client, {
    perSecond: connectionsPerSecond,
    mostMs: samples * (effectDeadlineMs / 10) + 60_000,
    onConnection: (connection) => {
      if (wanted?.numbers.has(connection.backend) === true && connection.connectedNs > wanted.sinceNs)
        wanted.seen(connection);
    },
  });
  try {
    await sleep(300, context.signal);
    for (let sample = 0; sample < samples; sample++) {
      let first: Connection | undefined;
      const sinceNs = nowNs();
      const numbers = new Set(target.turn(endpointsPerService).added);
      wanted = {
        numbers,
        sinceNs,
        seen: (connection) => {
          first ??= connection;
        },
      };
      const { connectedNs } = await waitFor("a connection to the new endpoints", () => first, {
        timeoutMs: effectDeadlineMs,
        intervalMs: 2,
        signal: context.signal,
      });
      load.check();
      check();
      timesMs.push((connectedNs - sinceNs) / 1e6);
      // At no fixed distance from the last one, so that it meets the agent's delay at any point.
      await sleep(20 + Math.random() * 40, context.signal);
    }
  } finally {
    await load.stop();
  }
  return timesMs;
}

/** Changes endpoints of other Services at a steady rate; the function returned ends it. */
function changeOthers(slices: FedInformer, count: number): () => void {
  const startedAt = performance.now();
  let done = 0;
  const timer = setInterval(() => {
    const due = ((performance.now() - startedAt) * busyChangesPerSecond) / 1000;
    for (; done < due && count > 2; done++) {
      const index = Math.floor(Math.random() * (count - 2));
      slices.put(makeSlice(index, elsewhere(index, done % 7), { port: serverPorts.target }));
    }
  }, 5);
  return () => clearInterval(timer);
}

/** Turns the target's endpoints while connections are made, and judges every one of them. */
async function loseNothing(
  context: BenchContext,
  options: { client: ServiceClient; target: TurningTarget; control: ServiceControl },
): Promise<Omit<ChangeResult, "restMs" | "busyMs">> {
  const { client, target, control } = options;
  const { changes } = context.services;
  const { pool, present } = target.numbers;
  const judge = new Judge(new BackendHistory(pool, present));
  const load = new SteadyLoad(client, {
    perSecond: 2 * connectionsPerSecond,
    mostMs: 120_000 + (changes * 5000) / changesPerSecond,
    onConnection: (connection) => judge.add(connection),
  });
  try {
    await sleep(300, context.signal);
    const startedAt = performance.now();
    for (let done = 0; done < changes; ) {
      const due = ((performance.now() - startedAt) * changesPerSecond) / 1000;
      for (; done < due && done < changes; done++) {
        const beganNs = nowNs();
        const change = target.turn(1);
        control.sync();
        judge.history.changed(change, beganNs, nowNs());
      }
      load.check();
      await sleep(2, context.signal);
    }
    await sleep(500, context.signal);
    load.check();
  } finally {
    await load.stop();
  }
  return { changes, fates: judge.fates, slowestConnectMs: judge.slowestConnectMs, losses: judge.losses };
}

/** Counts connections by what became of them. */
export class Judge {
  readonly history: BackendHistory;
  readonly fates: Record<Fate, number> = { served: 0, late: 0, dead: 0, dropped: 0 };
  slowestConnectMs = 0;
  /** What happened to the first connections that were lost. */
  readonly losses: string[] = [];
  readonly #createdNs = nowNs();

  constructor(history: BackendHistory) {
    this.history = history;
  }

  add(connection: Connection): void {
    const fate = this.history.judge(connection);
    this.fates[fate]++;
    if ((fate === "dead" || fate === "dropped") && this.losses.length < mostLosses)
      this.losses.push(this.#describe(connection, fate));
    const ms = (connection.connectedNs - connection.startNs) / 1e6;
    this.slowestConnectMs = Math.max(this.slowestConnectMs, ms);
  }

  #describe({ startNs, connectedNs, endNs, backend, port }: Connection, fate: Fate): string {
    const seconds = ((startNs - this.#createdNs) / 1e9).toFixed(3);
    const what = backend < 0 ? getSystemErrorName(backend) : `backend ${backend}`;
    const [connectMs, allMs] = [connectedNs, endNs].map((ns) => ((ns - startNs) / 1e6).toFixed(1));
    return `${fate} at ${seconds} s from port ${port}: ${what}, connect ${connectMs} ms, in all ${allMs} ms`;
  }
}

/** Median and 99th percentile, in milliseconds with one decimal. */
export const spread = (timesMs: readonly number[]): { p50: number; p99: number } => {
  const at = (share: number) => Math.round(quantile(timesMs, share) * 10) / 10;
  return { p50: at(0.5), p99: at(0.99) };
};
