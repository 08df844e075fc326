// SPDX-License-Identifier: Apache-2.0

import { sleep } from "../../lib/wait.ts";
import { type BenchContext, type BenchResult, undoAll } from "./bench.ts";
import { KubeProxySide, usableKinds } from "./kube-proxy-side.ts";
import {
  endpointsPerService,
  type MadeServices,
  makeServices,
  serverPorts,
  servicePort,
} from "./made-services.ts";
import { measureChanges } from "./service-changes.ts";
import { measureMemory } from "./service-memory.ts";
import { Servers, type ServicePath, sampleConnections, sampleThroughput } from "./service-samples.ts";
import { soakServices } from "./service-soak.ts";
import { type PathName, type SizeResult, summarise } from "./service-summary.ts";
import { poolSize, ShuntSide } from "./shunt-side.ts";

/** Programming takes long: it is repeated this often at most. */
const mostProgrammings = 3;
/** Samples of short connections of each path in a round. */
const samplesPerRound = 4;

/** Shunt's services against none, kube-proxy's iptables and kube-proxy's nftables, all in one run. */
export async function services(context: BenchContext): Promise<BenchResult> {
  if (context.services.soakMs !== undefined) return await soakServices(context, context.services.soakMs);
  const finalizers: (() => Promise<void>)[] = [];
  try {
    const { sizes } = context.services;
    context.progress(`services: memory with ${sizes.at(-1)} services`);
    const memory = await measureMemory(context, sizes.at(-1)!);
    const sides = await openSides(context, finalizers);
    const results: SizeResult[] = [];
    for (const size of sizes) results.push(await measureSize(context, sides, size));
    const pool = ShuntSide.backends(poolSize);
    await sides.many.servers.tellAddresses();
    const made = makeServices(sizes.at(-1)!, pool.slice(0, endpointsPerService));
    const changes = await measureChanges(context, sides.many.side, made, pool);
    return summarise(results, changes, memory);
  } finally {
    await undoAll(finalizers);
  }
}

interface Sides {
  few: { side: ShuntSide; servers: Servers; made: MadeServices };
  many: { side: ShuntSide; servers: Servers };
  kubeProxy: { side: KubeProxySide; servers: Servers }[];
}

async function openSides(context: BenchContext, finalizers: (() => Promise<void>)[]): Promise<Sides> {
  const suffix = process.pid % 10000;
  const open = async <Side extends { open(backends: string[]): Promise<void>; close(): Promise<void> }>(
    side: Side,
    serverNetns: (side: Side) => string,
    backends: string[],
  ): Promise<{ side: Side; servers: Servers }> => {
    finalizers.push(() => side.close());
    await side.open(backends);
    const servers = new Servers(serverNetns(side));
    finalizers.push(() => servers.close());
    return { side, servers };
  };
  const openShunt = (letter: string) =>
    open(
      new ShuntSide(context.parts, `s${letter}${suffix}`),
      (side) => side.lab.netns("n2p1"),
      ShuntSide.backends(poolSize),
    );
  context.progress("services: opening nodes");
  const few = await openShunt("f");
  const many = await openShunt("m");
  const kubeProxy: Sides["kubeProxy"] = [];
  for (const kind of await usableKinds())
    kubeProxy.push(
      await open(
        new KubeProxySide(kind, `s${kind.at(-1)}${suffix}`),
        (side) => side.path.server,
        KubeProxySide.backends(endpointsPerService),
      ),
    );
  const made = few.side.fill(context.services.sizes[0]!, ShuntSide.backends(endpointsPerService));
  await sleep(500, context.signal);
  return { few: { ...few, made }, many, kubeProxy };
}

async function measureSize(context: BenchContext, sides: Sides, size: number): Promise<SizeResult> {
  const made = makeServices(size, ShuntSide.backends(endpointsPerService));
  const theirs = makeServices(size, KubeProxySide.backends(endpointsPerService));
  const result: SizeResult = { size, samples: new Map(), throughput: new Map(), programMs: new Map() };
  const add = <Key, Value>(to: Map<Key, Value[]>, key: Key, value: Value): void => {
    to.set(key, [...(to.get(key) ?? []), value]);
  };
  for (let turn = 1; turn <= Math.min(mostProgrammings, context.rounds); turn++) {
    context.progress(`services: programming ${size}, turn ${turn}`);
    add(result.programMs, "shunt", sides.many.side.program(made));
    for (const { side } of sides.kubeProxy)
      add(result.programMs, side.kind, await side.program(theirs, context.signal));
  }
  const paths = pathsOf(sides, made, theirs);
  for (let round = 1; round <= context.rounds; round++) {
    context.progress(`services: ${size} services, round ${round} of ${context.rounds}`);
    for (let turn = 0; turn < samplesPerRound; turn++)
      for (const [name, one] of turned(paths, turn))
        add(result.samples, name, await sampleConnections(one, context.signal));
    for (const [name, one] of turned(paths, round))
      add(result.throughput, name, await sampleThroughput(one, context.signal));
  }
  return result;
}

/** The same beginning with another one, so that none is always measured after the same other. */
function turned<T>(list: readonly T[], by: number): T[] {
  const first = by % list.length;
  return [...list.slice(first), ...list.slice(0, first)];
}

function pathsOf(sides: Sides, made: MadeServices, theirs: MadeServices): [PathName, ServicePath][] {
  const { few, many, kubeProxy } = sides;
  const shunt = (
    { side, servers }: { side: ShuntSide; servers: Servers },
    to: MadeServices,
  ): ServicePath => ({
    connections: side.client(to.target, servicePort, true),
    throughput: side.client(to.throughput, servicePort, true),
    servers,
  });
  const pod = ShuntSide.backends(1)[0]!;
  const noService: ServicePath = {
    connections: many.side.client(pod, serverPorts.target, false),
    throughput: many.side.client(pod, serverPorts.throughput, false),
    servers: many.servers,
  };
  const others = kubeProxy.map(({ side, servers }): [PathName, ServicePath] => {
    const client = (address: string) => ({
      ...{ address, port: servicePort },
      command: (words: readonly string[]): [string, string[]] => [
        "nsenter",
        [`--net=${side.path.client}`, ...words],
      ],
    });
    return [
      side.kind,
      { connections: client(theirs.target), throughput: client(theirs.throughput), servers },
    ];
  });
  return [
    ["noService", noService],
    ["shunt", shunt(many, made)],
    ["shuntFewest", shunt(few, few.made)],
    ...others,
  ];
}
