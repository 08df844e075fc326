// SPDX-License-Identifier: Apache-2.0
// Random Services, EndpointSlices, pods, zones and orders of events, against a model that is naive on purpose.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Change, Informer } from "../lib/kube-informer.ts";
import type { KubeObject } from "../lib/kube-object.ts";
import { createLogger } from "../lib/log.ts";
import { maglevSize, maglevTable } from "./maglev.ts";
import { ServiceController } from "./service-controller.ts";
import { forgetMostOfSlice } from "./service-slices.ts";
import { type MemoryMaps, memoryMaps, readServices, type SeenService } from "./testing-services.ts";

const log = createLogger(() => undefined);
const nodes = ["n1", "n2"];
const self = "n1";

/** What is used of an informer: objects that a test puts in and takes out. */
class TestInformer {
  readonly #objects = new Map<string, KubeObject>();
  readonly #listeners: ((event: Change) => void)[] = [];
  readonly synced = true;
  onChange(listener: (event: Change) => void): void {
    this.#listeners.push(listener);
  }
  get(key: string): KubeObject | undefined {
    return this.#objects.get(key);
  }
  list(): KubeObject[] {
    return [...this.#objects.values()];
  }
  put(object: KubeObject): void {
    const key = `${object.metadata.namespace}/${object.metadata.name}`;
    const previous = this.#objects.get(key);
    this.#objects.set(key, object);
    const event = previous === undefined ? { type: "added", object } : { type: "modified", object, previous };
    for (const listener of this.#listeners) listener(event as Change);
  }
  take(name: string): void {
    const object = this.#objects.get(`default/${name}`);
    if (object === undefined) return;
    this.#objects.delete(`default/${name}`);
    for (const listener of this.#listeners) listener({ type: "deleted", object } as Change);
  }
}

// Few names and addresses, so that cases meet: the same endpoint in two slices, the same address in two Services.
const serviceName = fc.constantFrom("a", "b", "c");
const endpoint = fc.record({
  address: fc.constantFrom("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"),
  nodeName: fc.constantFrom(...nodes),
  conditions: fc.constantFrom(
    {},
    { ready: true, serving: true, terminating: false },
    { ready: false, serving: false, terminating: false },
    { ready: false, serving: true, terminating: true },
    { ready: false, serving: false, terminating: true },
  ),
  zones: fc.constantFrom([], ["z1"], ["z2"], ["z1", "z2"]),
  forNodes: fc.constantFrom([], [], ["n1"], ["n2"]),
});
const putSlice = fc.record({
  kind: fc.constant("put-slice" as const),
  name: fc.constantFrom("s1", "s2", "s3", "s4"),
  owner: serviceName,
  port: fc.constantFrom(8080, 9090),
  protocol: fc.constantFrom("TCP", "UDP"),
  endpoints: fc.array(endpoint, { maxLength: 5 }),
});
const putService = fc.record({
  kind: fc.constant("put-service" as const),
  name: serviceName,
  clusterIP: fc.constantFrom("10.96.0.1", "10.96.0.2", "10.96.0.3", "None"),
  type: fc.constantFrom("ClusterIP", "NodePort", "LoadBalancer", "ExternalName"),
  nodePort: fc.constantFrom(0, 30_001, 30_002),
  externalIPs: fc.constantFrom([], ["192.0.2.1"], ["192.0.2.1", "192.0.2.2"]),
  ingress: fc.constantFrom([], ["198.51.100.1"]),
  ranges: fc.constantFrom([], ["203.0.113.0/24"], ["203.0.113.0/24", "10.0.0.0/8"]),
  internal: fc.constantFrom("Cluster", "Local"),
  external: fc.constantFrom("Cluster", "Local"),
  affinity: fc.constantFrom(0, 0, 60),
  publish: fc.boolean(),
  weights: fc.constantFrom(undefined, undefined, "n2=3", "10.0.0.1=0,n1=2"),
  protocol: fc.constantFrom("TCP", "UDP"),
});
const step = fc.oneof(
  { weight: 4, arbitrary: putSlice },
  { weight: 4, arbitrary: putService },
  fc.record({ kind: fc.constant("take-slice" as const), name: fc.constantFrom("s1", "s2", "s3", "s4") }),
  fc.record({ kind: fc.constant("take-service" as const), name: serviceName }),
  fc.record({ kind: fc.constant("zone" as const), zone: fc.constantFrom("z1", "z2", undefined) }),
  fc.record({ kind: fc.constant("sync" as const) }),
  fc.record({ kind: fc.constant("restart" as const) }),
  fc.record({ kind: fc.constant("die" as const), writes: fc.integer({ min: 0, max: 25 }) }),
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;
type ServiceStep = typeof putService extends fc.Arbitrary<infer T> ? T : never;
type SliceStep = typeof putSlice extends fc.Arbitrary<infer T> ? T : never;

/** As the agent keeps it. */
function sliceObject(step: SliceStep): KubeObject {
  const slice = wholeSlice(step);
  forgetMostOfSlice(slice);
  return slice;
}
const wholeSlice = ({ name, owner, port, protocol, endpoints }: SliceStep): KubeObject => ({
  metadata: { name, namespace: "default", labels: { "kubernetes.io/service-name": owner } },
  addressType: "IPv4",
  ports: [{ name: "p", port, protocol }],
  endpoints: endpoints.map(({ address, nodeName, conditions, zones, forNodes }) => ({
    addresses: [address],
    nodeName,
    conditions,
    hints: {
      forZones: zones.map((zone) => ({ name: zone })),
      forNodes: forNodes.map((node) => ({ name: node })),
    },
  })),
});
/** The one whose name comes last is the oldest. */
const ages: Record<string, string> = { a: "2026-01-03", b: "2026-01-02", c: "2026-01-01" };
const serviceObject = (made: ServiceStep): KubeObject => ({
  metadata: {
    name: made.name,
    namespace: "default",
    creationTimestamp: ages[made.name],
    annotations: made.weights === undefined ? {} : { "shunt.dev/backend-weights": made.weights },
  },
  spec: {
    type: made.type,
    clusterIP: made.clusterIP,
    ports: [{ name: "p", port: 80, protocol: made.protocol, nodePort: made.nodePort }],
    externalIPs: made.externalIPs,
    loadBalancerSourceRanges: made.ranges,
    internalTrafficPolicy: made.internal,
    externalTrafficPolicy: made.external,
    publishNotReadyAddresses: made.publish,
    ...(made.affinity > 0
      ? {
          sessionAffinity: "ClientIP",
          sessionAffinityConfig: { clientIP: { timeoutSeconds: made.affinity } },
        }
      : {}),
  },
  status: { loadBalancer: { ingress: made.ingress.map((ip) => ({ ip })) } },
});

/** The state as the steps leave it: the last of each name. */
interface World {
  services: Map<string, ServiceStep>;
  slices: Map<string, SliceStep>;
  zone: string | undefined;
}

/** Every frontend that somebody wants, by key, with all who want it as it should then be. */
function naive({ services, slices, zone }: World): Map<string, SeenService[]> {
  const wanted = new Map<string, SeenService[]>();
  for (const made of [...services.values()].sort((a, b) => ages[a.name]!.localeCompare(ages[b.name]!))) {
    if (made.clusterIP === "None" || made.type === "ExternalName") continue;
    const state = new Map<
      string,
      { level: number; nodeName: string; zones: readonly string[]; forNodes: readonly string[] }
    >();
    for (const [, slice] of [...slices].sort(([a], [b]) => (a < b ? -1 : 1))) {
      if (slice.owner !== made.name || slice.protocol !== made.protocol) continue;
      for (const one of slice.endpoints) {
        const conditions: { ready?: boolean; serving?: boolean; terminating?: boolean } = one.conditions;
        const isReady = conditions.ready !== false || made.publish;
        const level = isReady ? 2 : conditions.terminating === true && conditions.serving !== false ? 1 : 0;
        const name = `${one.address} ${slice.port}`;
        const other = state.get(name);
        const isBetter = other === undefined || level > other.level;
        const isOwnTie = other?.level === level && one.nodeName === self && other.nodeName !== self;
        if (isBetter || isOwnTie) state.set(name, { level, ...one });
      }
    }
    const names = [...state.keys()].sort();
    const at = (level: number, local: boolean) =>
      names.filter((name) => {
        const one = state.get(name)!;
        return one.level === level && (!local || one.nodeName === self);
      });
    const ready = at(2, false);
    const forNode = ready.every((name) => state.get(name)!.forNodes.length > 0)
      ? ready.filter((name) => state.get(name)!.forNodes.includes(self))
      : [];
    const forZone =
      zone !== undefined && ready.every((name) => state.get(name)!.zones.length > 0)
        ? ready.filter((name) => state.get(name)!.zones.includes(zone))
        : [];
    const all = ready.length > 0 ? ready : at(1, false);
    const cluster = forNode.length > 0 ? forNode : forZone.length > 0 ? forZone : all;
    const ownReady = at(2, true);
    const own = ownReady.length > 0 ? ownReady : at(1, true);
    const ranges = made.type === "LoadBalancer" ? made.ranges.toSorted() : [];
    const weighted = made.weights === undefined ? 0 : 16;
    const frontends: [string, number, number][] = [
      [made.clusterIP, 80, made.internal === "Local" ? 2 : 0],
      ...[...new Set(made.externalIPs)].map((ip): [string, number, number] => [
        ip,
        80,
        made.external === "Local" ? 1 : 0,
      ]),
      ...made.ingress.map((ip): [string, number, number] => [
        ip,
        80,
        (made.external === "Local" ? 1 : 0) | (ranges.length > 0 ? 8 : 0),
      ]),
      ...(made.nodePort > 0
        ? [["0.0.0.0", made.nodePort, made.external === "Local" ? 1 : 0] as [string, number, number]]
        : []),
    ];
    const usesLocal = frontends.some(([, , flags]) => (flags & 3) !== 0);
    const hasTable = weighted > 0 || frontends.length > 1;
    const weightOf = (name: string) => {
      const { nodeName } = state.get(name)!;
      if (made.weights === undefined) return 1;
      const given: Record<string, number> = Object.fromEntries(
        made.weights.split(",").map((part) => [part.split("=")[0], Number(part.split("=")[1])]),
      );
      return given[name.split(" ")[0]!] ?? given[nodeName] ?? 1;
    };
    const size = hasTable ? maglevSize(cluster.length) : 0;
    const weightedNames = cluster.map((name) => ({ name, weight: weightOf(name) }));
    const table = size === 0 ? [] : [...maglevTable(weightedNames, size)];
    for (const [address, port, flags] of frontends) {
      const protocol = made.protocol === "TCP" ? 6 : 17;
      const seen: SeenService = {
        ...{ address, port, protocol, flags: flags | weighted, affinitySeconds: made.affinity },
        ...{ cluster, local: usesLocal ? own : [], table, ranges },
      };
      const key = `${address} ${port} ${protocol}`;
      wanted.set(key, [...(wanted.get(key) ?? []), seen]);
    }
  }
  return wanted;
}

/** Every wanted frontend is there as the oldest of those who want it wants it, and nothing else is. */
function compare(maps: MemoryMaps, world: World): void {
  const wanted = naive(world);
  const seen = new Map(
    readServices(maps).map((one): [string, SeenService] => [
      `${one.address} ${one.port} ${one.protocol}`,
      one,
    ]),
  );
  assert.deepEqual([...seen.keys()].sort(), [...wanted.keys()].sort());
  for (const [key, candidates] of wanted) {
    const found = seen.get(key)!;
    assert.deepEqual(found, candidates[0], `${key}, wanted by ${candidates.length}`);
  }
}

function runSteps(steps: readonly Step[]): void {
  const informers = { services: new TestInformer(), slices: new TestInformer(), pods: new TestInformer() };
  const maps = memoryMaps();
  const world: World = { services: new Map(), slices: new Map(), zone: undefined };
  const start = (): ServiceController => {
    const made = new ServiceController({
      informers: informers as unknown as Record<"services" | "slices" | "pods", Informer>,
      nodeName: self,
      log,
      onDirty: () => undefined,
    });
    // A new agent lists what there is: every object is an event.
    for (const informer of [informers.slices, informers.services])
      for (const object of informer.list()) informer.put(object);
    made.setMaps(maps);
    made.setZone(world.zone);
    return made;
  };
  let controller = start();
  controller.sync();
  for (const one of steps) {
    if (one.kind === "put-service") {
      world.services.set(one.name, one);
      informers.services.put(serviceObject(one));
    } else if (one.kind === "put-slice") {
      world.slices.set(one.name, one);
      informers.slices.put(sliceObject(one));
    } else if (one.kind === "take-service") {
      world.services.delete(one.name);
      informers.services.take(one.name);
    } else if (one.kind === "take-slice") {
      world.slices.delete(one.name);
      informers.slices.take(one.name);
    } else if (one.kind === "zone") {
      world.zone = one.zone;
      controller.setZone(one.zone);
    } else if (one.kind === "die") {
      // Killed after so many writes: what is there is whole at that moment, and the next agent ends it.
      let left = one.writes;
      const all = Object.values(maps);
      const die = () => {
        if (left-- <= 0) throw new Error("killed");
      };
      for (const map of all) map.onChange = die;
      try {
        controller.sync();
      } catch (error) {
        assert.equal((error as Error).message, "killed");
      }
      for (const map of all) map.onChange = () => undefined;
      readServices(maps);
      controller = start();
      controller.sync();
      compare(maps, world);
    } else if (one.kind === "restart") {
      controller = start();
      controller.sync();
    } else {
      controller.sync();
      compare(maps, world);
    }
  }
  controller.sync();
  compare(maps, world);
  const { entries: slots } = controller.fill.find(({ map }) => map === "backends")!;
  assert.equal(maps.backends.data.size, slots, "slots that nobody counts");
  controller.setMaps(undefined);
  for (const [name, map] of Object.entries(maps)) assert.equal(map.data.size, 0, `${name} is not empty`);
}

test("the maps hold what a naive model says, whatever the events and their order", () => {
  fc.assert(fc.property(fc.array(step, { maxLength: 30 }), runSteps), { numRuns: 4_000 });
});
