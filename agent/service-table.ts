// SPDX-License-Identifier: Apache-2.0
import { addressText } from "../lib/addresses.ts";
import { BackendNumbers } from "./backend-numbers.ts";
import {
  backendKey,
  backend as backendLayout,
  maglevKey,
  memberKey,
  serviceKey,
  service as serviceLayout,
} from "./datapath-layout.ts";
import { maglevSize } from "./maglev.ts";
import {
  allBackends,
  backendNames,
  contentCounts,
  type Entry,
  encodeService,
  endpointOf,
  hex,
  isOlder,
  keyOf,
  lostTo,
  maglevEntries,
  maglevKeys,
  memberEntries,
  mostSlots,
  rangeKey,
  type Shape,
  sameBackends,
  sameFrontend,
  slotEntries,
  type Written,
  wantsMembers,
} from "./service-entries.ts";
import { backendOf, type FlowMap, forgetUdpFlows, type LedSocket } from "./service-flows.ts";
import type { Backend, Frontend, ServiceGroup } from "./service-model.ts";

/** A flow map that is also written. */
export interface TableMap extends FlowMap {
  /** Most entries that it takes. */
  readonly capacity: number;
  setMany(entries: readonly (readonly [Uint8Array, Uint8Array])[]): void;
  /** The entries, one at a time. */
  each(): Iterable<[Uint8Array, Uint8Array]>;
}

/** The maps that the table writes. */
interface TableMaps {
  services: TableMap;
  backends: TableMap;
  maglev: TableMap;
  members: TableMap;
  sourceRanges: TableMap;
}
type TableName = keyof TableMaps;

/** The maps that services live in. */
export interface ServiceMaps extends TableMaps {
  nat: FlowMap;
  socketNat: FlowMap;
}

/** Sockets whose backend has gone, for whoever ends them. */
export interface GoneSockets {
  /** TCP endpoints that are no more in any state (as `backendOf` names them). */
  tcp: ReadonlySet<string>;
  /** Sockets that were led to a UDP backend that serves no more. */
  udp: readonly LedSocket[];
}

/** Why a group is not in the maps as it should be. */
export interface ServiceProblem {
  /** Key of the group. */
  group: string;
  message: string;
}

/** What one call of `apply` writes and removes, by map. */
class Changes {
  readonly set: Record<TableName, Entry[]> = {
    services: [],
    backends: [],
    maglev: [],
    members: [],
    sourceRanges: [],
  };
  readonly gone: Record<Exclude<TableName, "services">, Uint8Array[]> = {
    backends: [],
    maglev: [],
    members: [],
    sourceRanges: [],
  };
  /** Frontends that their group gave up: gone unless another took them. */
  readonly released = new Map<string, Uint8Array>();
  /** UDP backends that a service no longer has (by `backendOf`). */
  readonly goneBackends = new Set<string>();
  /** TCP endpoints that are no more, likewise. */
  readonly goneEndpoints = new Set<string>();
}

const tcp = 6;
const udp = 17;
/** Slots made before they are written: 50,000 at once are 25 MiB, and the heap stays as large as it once was. */
const slotsAtOnce = 256;
/**
 * Keeps the service maps equal to the groups it was given. A change of backends goes to slots of a new generation,
 * then one write switches each frontend over, then flows to what is gone are forgotten and the old slots go: no
 * lookup sees half of it, and what a killed agent left to do is found by its old slots.
 */
export class ServiceTable {
  readonly #maps: ServiceMaps;
  readonly #onGone: (gone: GoneSockets) => void;
  readonly #written = new Map<string, Written>();
  /** Which group answers a frontend, by key. */
  readonly #owners = new Map<string, string>();
  /** Groups that want a frontend that another one has, or for which there is no room; and why. */
  readonly #refused = new Map<string, { group: ServiceGroup; why: string[] }>();
  readonly #numbers = new BackendNumbers();
  #nextId = 1;
  /** What an earlier agent left: frontend key to id, and the newest generation of an id. */
  #inherited = new Map<string, number>();
  readonly #generations = new Map<number, number>();
  readonly #usedIds = new Set<number>();
  readonly #counts: Record<TableName, number> = {
    services: 0,
    backends: 0,
    maglev: 0,
    members: 0,
    sourceRanges: 0,
  };

  constructor(maps: ServiceMaps, onGone: (gone: GoneSockets) => void = () => undefined) {
    this.#maps = maps;
    this.#onGone = onGone;
  }

  get size(): { groups: number; frontends: number; backends: number } {
    return { groups: this.#written.size, frontends: this.#owners.size, backends: this.#counts.backends };
  }

  /** The groups that are in the maps, each with its number there. */
  get groups(): { id: number; group: ServiceGroup }[] {
    return [...this.#written.values()].map(({ id, group }) => ({ id, group }));
  }

  /** Those of these endpoints (as `backendOf` names them) that are there again. */
  known(names: ReadonlySet<string>): Set<string> {
    const ids = new Set([...names].map((name) => Number(name.split(" ")[0])));
    const found = new Set<string>();
    for (const { id, group } of this.#written.values())
      if (ids.has(id)) for (const text of group.known) found.add(endpointOf(id, text));
    return new Set([...names].filter((name) => found.has(name)));
  }

  /** What could not be written, and maps that are nearly full. */
  get problems(): ServiceProblem[] {
    return [...this.#refused].flatMap(([group, { why }]) => why.map((message) => ({ group, message })));
  }

  /** How full each map is. */
  get fill(): { map: TableName; entries: number; capacity: number }[] {
    return (Object.keys(this.#counts) as TableName[]).map((map) => ({
      map,
      entries: this.#counts[map],
      capacity: this.#maps[map].capacity,
    }));
  }

  /** Reads what an earlier agent left, so that ids and generations go on from there. */
  inherit(): void {
    const protocolOf = new Map<number, number>();
    const sawGeneration = (id: number, generation: number): void => {
      this.#generations.set(id, Math.max(this.#generations.get(id) ?? 0, generation));
      this.#nextId = Math.max(this.#nextId, id + 1);
    };
    for (const [key, value] of this.#maps.services.each()) {
      const { id, generation } = serviceLayout.decode(value);
      this.#inherited.set(hex(key), id);
      protocolOf.set(id, serviceKey.decode(key).protocol);
      sawGeneration(id, generation);
    }
    for (const [key, value] of this.#maps.backends.each()) {
      const { serviceId, generation } = backendKey.decode(key);
      const { address, port, id } = backendLayout.decode(value);
      sawGeneration(serviceId, generation);
      this.#numbers.inherit({ address: addressText(address), port }, protocolOf.get(serviceId), id);
    }
    for (const [key] of this.#maps.maglev.each()) {
      const { serviceId, generation } = maglevKey.decode(key);
      sawGeneration(serviceId, generation);
    }
    for (const [key] of this.#maps.members.each()) {
      const { serviceId, generation } = memberKey.decode(key);
      sawGeneration(serviceId, generation);
    }
  }

  /** Makes these groups so; `gone` are keys of groups that are no more. */
  apply(groups: readonly ServiceGroup[], gone: readonly string[] = []): void {
    const changes = new Changes();
    const now = new Set(groups.map((group) => group.key));
    for (const key of gone) if (!now.has(key)) this.#remove(key, changes);
    for (const group of groups) {
      this.#write(group, changes);
      if (changes.set.backends.length >= slotsAtOnce) this.#commitContents(changes);
    }
    // What came free may be what a refused group waits for.
    if (changes.released.size > 0 || changes.gone.backends.length > 0)
      for (const { group } of [...this.#refused.values()]) this.#write(group, changes);
    this.#commit(changes);
  }

  /** Removes what no group owns: the rest of an earlier agent. Call it once all groups are known. */
  prune(): { frontends: number; slots: number } {
    const stale = keysOf(this.#maps.services, (key) => !this.#owners.has(hex(key)));
    this.#maps.services.deleteMany(stale);
    const current = new Map([...this.#written.values()].map((written) => [written.id, written]));
    const isOld = ({ serviceId, generation }: { serviceId: number; generation: number }): boolean =>
      current.get(serviceId)?.generation !== generation;
    const slots: Entry[] = [];
    for (const entry of this.#maps.backends.each()) if (isOld(backendKey.decode(entry[0]))) slots.push(entry);
    forgetUdpFlows(this.#maps, namesNotIn(current, slots));
    this.#maps.backends.deleteMany(slots.map(([key]) => key));
    this.#maps.maglev.deleteMany(keysOf(this.#maps.maglev, (key) => isOld(maglevKey.decode(key))));
    this.#maps.members.deleteMany(keysOf(this.#maps.members, (key) => isOld(memberKey.decode(key))));
    const ranges = new Set(
      [...current.values()].flatMap(({ id, group }) =>
        group.sourceRanges.map((text) => hex(rangeKey(id, text))),
      ),
    );
    this.#maps.sourceRanges.deleteMany(keysOf(this.#maps.sourceRanges, (key) => !ranges.has(hex(key))));
    this.#numbers.prune();
    this.#inherited = new Map();
    this.#generations.clear();
    return { frontends: stale.length, slots: slots.length };
  }

  /**
   * Compares the maps with what they should hold, writes groups anew of which something is missing or different, and
   * removes what is nobody's. Returns the groups' keys and the number of entries removed.
   */
  verify(): { mended: string[]; removed: number } {
    const contents = (name: TableName): Map<string, Uint8Array> =>
      new Map(Array.from(this.#maps[name].each(), ([key, value]) => [hex(key), value]));
    const found = {
      services: contents("services"),
      backends: contents("backends"),
      maglev: contents("maglev"),
      members: contents("members"),
      sourceRanges: contents("sourceRanges"),
    };
    const broken = [...this.#written.values()].filter((written) => !this.#isWhole(written, found));
    const changes = new Changes();
    for (const { group } of broken) this.#write(group, changes, true);
    this.#commit(changes);
    const { frontends, slots } = this.prune();
    return { mended: broken.map(({ group }) => group.key), removed: frontends + slots };
  }

  #isWhole(written: Written, found: Record<TableName, ReadonlyMap<string, Uint8Array>>): boolean {
    const { id, group, frontends } = written;
    const isThere = (name: TableName, [key, value]: Entry): boolean => {
      const there = found[name].get(hex(key));
      return there !== undefined && Buffer.from(there).equals(value);
    };
    return (
      [...frontends.values()].every((one) =>
        isThere("services", [keyOf(one), encodeService(written, one)]),
      ) &&
      slotEntries(written, this.#numberOf).every((entry) => isThere("backends", entry)) &&
      memberEntries(written, this.#numberOf).every((entry) => isThere("members", entry)) &&
      maglevKeys(written).every((key) => found.maglev.has(hex(key))) &&
      group.sourceRanges.every((text) => found.sourceRanges.has(hex(rangeKey(id, text))))
    );
  }

  /** Removes everything. */
  clear(): void {
    this.apply([], [...this.#written.keys(), ...this.#refused.keys()]);
    this.prune();
  }

  /** Writes what differs from before; with `anew` all of it. */
  #write(group: ServiceGroup, changes: Changes, anew = false): void {
    const before = this.#written.get(group.key);
    const tableSize = group.table ? Math.min(maglevSize(group.backends.length), mostSlots) : 0;
    const hasMembers = wantsMembers(group);
    const changed =
      anew ||
      before === undefined ||
      before.tableSize !== tableSize ||
      before.hasMembers !== hasMembers ||
      !sameBackends(before.group.backends, group.backends) ||
      !sameBackends(before.group.localBackends, group.localBackends);
    const full = changed ? this.#lacksRoom(group, { tableSize, hasMembers }, before) : undefined;
    if (full !== undefined) {
      // What is there stays as it was.
      this.#refused.set(group.key, { group, why: [full] });
      return;
    }
    const why: string[] = [];
    this.#refused.delete(group.key);
    const frontends = this.#claim(group, why);
    const origin = before ?? this.#origin(frontends);
    const written: Written = {
      id: origin.id,
      generation: changed ? (origin.generation + 1) >>> 0 : origin.generation,
      group,
      frontends,
      tableSize,
      hasMembers,
    };
    if (why.length > 0) this.#refused.set(group.key, { group, why });
    if (changed) this.#addContents(written, changes);
    for (const [key, frontend] of frontends) {
      const old = before?.frontends.get(key);
      if (changed || old === undefined || !sameFrontend(old, frontend))
        changes.set.services.push([keyOf(frontend), encodeService(written, frontend)]);
      if (old === undefined) this.#counts.services++;
    }
    const ranges = new Set(anew ? [] : before?.group.sourceRanges);
    for (const text of group.sourceRanges)
      if (!ranges.delete(text)) changes.set.sourceRanges.push([rangeKey(written.id, text), Uint8Array.of(1)]);
    changes.gone.sourceRanges.push(...[...ranges].map((text) => rangeKey(written.id, text)));
    this.#counts.sourceRanges += group.sourceRanges.length - (before?.group.sourceRanges.length ?? 0);
    this.#written.set(group.key, written);
    this.#usedIds.add(written.id);
    for (const [key, frontend] of before?.frontends ?? [])
      if (!frontends.has(key)) this.#release(key, frontend, changes);
    if (before === undefined) return;
    if (changed) this.#retire(before, changes, written);
    if (group.protocol === tcp) {
      const known = new Set(group.known);
      for (const text of before.group.known)
        if (!known.has(text)) changes.goneEndpoints.add(endpointOf(written.id, text));
    }
  }

  /** The group's frontends, without those that an older group has; a younger one gives its own up. */
  #claim(group: ServiceGroup, why: string[]): Map<string, Frontend> {
    const frontends = new Map<string, Frontend>();
    for (const frontend of group.frontends) {
      const key = hex(keyOf(frontend));
      const owner = this.#written.get(this.#owners.get(key) ?? group.key);
      const other = owner?.group.key === group.key ? undefined : owner;
      if (other !== undefined && isOlder(other.group, group)) {
        why.push(lostTo(frontend, other.group));
        continue;
      }
      if (other !== undefined) {
        other.frontends.delete(key);
        this.#counts.services--;
        const known = this.#refused.get(other.group.key)?.why ?? [];
        this.#refused.set(other.group.key, { group: other.group, why: [...known, lostTo(frontend, group)] });
      }
      frontends.set(key, frontend);
      this.#owners.set(key, group.key);
    }
    return frontends;
  }

  #remove(key: string, changes: Changes): void {
    this.#refused.delete(key);
    const written = this.#written.get(key);
    if (written === undefined) return;
    this.#written.delete(key);
    this.#usedIds.delete(written.id);
    for (const [name, frontend] of written.frontends) this.#release(name, frontend, changes);
    const ranges = written.group.sourceRanges;
    changes.gone.sourceRanges.push(...ranges.map((text) => rangeKey(written.id, text)));
    this.#counts.sourceRanges -= ranges.length;
    this.#retire(written, changes);
  }

  #release(key: string, frontend: Frontend, changes: Changes): void {
    this.#owners.delete(key);
    this.#counts.services--;
    changes.released.set(key, keyOf(frontend));
  }

  /** The id that an earlier agent gave to one of these frontends, else a new one; and the newest generation of it. */
  #origin(frontends: Map<string, Frontend>): { id: number; generation: number } {
    for (const key of frontends.keys()) {
      const id = this.#inherited.get(key);
      if (id !== undefined && !this.#usedIds.has(id))
        return { id, generation: this.#generations.get(id) ?? 0 };
    }
    return { id: this.#nextId++, generation: 0 };
  }

  /** Why the group cannot grow to this. Half of what has generations is kept for the change from one to the next. */
  #lacksRoom(group: ServiceGroup, shape: Shape, before: Written | undefined): string | undefined {
    const { backends } = group;
    if (backends.length > mostSlots)
      return `${backends.length} endpoints are more than the ${mostSlots} that a service can have`;
    const wanted = { ...contentCounts(group, shape), services: group.frontends.length };
    const had =
      before === undefined
        ? undefined
        : { ...contentCounts(before.group, before), services: before.frontends.size };
    for (const name of Object.keys(wanted) as (keyof typeof wanted)[]) {
      const { capacity } = this.#maps[name];
      const limit = name === "services" ? capacity : capacity >> 1;
      const growth = wanted[name] - (had?.[name] ?? 0);
      if (growth > 0 && this.#counts[name] + growth > limit)
        return `no room for it: ${name} has ${this.#counts[name]} of ${limit} entries and would need ${growth} more (raise services.maps.${name} in the configuration)`;
    }
    return undefined;
  }

  /** Slots, table and members of a generation. */
  #addContents(written: Written, changes: Changes): void {
    changes.set.backends.push(...slotEntries(written, this.#useNumber));
    changes.set.members.push(...memberEntries(written, this.#numberOf));
    changes.set.maglev.push(...maglevEntries(written));
    this.#countContents(written, 1);
  }

  #countContents(written: Written, sign: 1 | -1): void {
    const { backends, maglev, members } = contentCounts(written.group, written);
    this.#counts.backends += sign * backends;
    this.#counts.maglev += sign * maglev;
    this.#counts.members += sign * members;
  }

  /** Gives up what a generation had. */
  #retire(before: Written, changes: Changes, after?: Written): void {
    const { group } = before;
    changes.gone.backends.push(...slotEntries(before, this.#numberOf).map(([key]) => key));
    changes.gone.members.push(...memberEntries(before, this.#numberOf).map(([key]) => key));
    changes.gone.maglev.push(...maglevKeys(before));
    for (const backend of allBackends(group)) this.#numbers.leave(backend, group.protocol);
    this.#countContents(before, -1);
    if (group.protocol !== udp) return;
    const kept = new Set(after === undefined ? [] : backendNames(after));
    for (const name of backendNames(before)) if (!kept.has(name)) changes.goneBackends.add(name);
  }

  readonly #numberOf = (backend: Backend, protocol: number): number => this.#numbers.of(backend, protocol);
  readonly #useNumber = (backend: Backend, protocol: number): number => this.#numbers.use(backend, protocol);

  /** What frontends will lead to: nothing looks there before `#commit` writes these. */
  #commitContents({ set }: Changes): void {
    for (const name of ["backends", "maglev", "members", "sourceRanges"] as const)
      this.#maps[name].setMany(set[name].splice(0));
  }

  #commit(changes: Changes): void {
    const maps = this.#maps;
    const { set, gone, released, goneBackends, goneEndpoints } = changes;
    this.#commitContents(changes);
    maps.services.setMany(set.services);
    const free = [...released].filter(([key]) => !this.#owners.has(key)).map(([, key]) => key);
    maps.services.deleteMany(free);
    const forgotten = forgetUdpFlows(maps, goneBackends);
    if (goneEndpoints.size > 0 || forgotten.length > 0) this.#onGone({ tcp: goneEndpoints, udp: forgotten });
    for (const name of ["backends", "maglev", "members", "sourceRanges"] as const)
      maps[name].deleteMany(gone[name]);
  }
}

function keysOf(map: TableMap, isStale: (key: Uint8Array) => boolean): Uint8Array[] {
  const stale: Uint8Array[] = [];
  for (const [key] of map.each()) if (isStale(key)) stale.push(key);
  return stale;
}

/** Backends in these slots that their service no longer has (by `backendOf`). */
function namesNotIn(current: ReadonlyMap<number, Written>, slots: readonly Entry[]): Set<string> {
  const names = new Set<string>();
  const kept = new Map<number, Set<string>>();
  for (const [key, value] of slots) {
    const { serviceId } = backendKey.decode(key);
    const { address, port } = backendLayout.decode(value);
    const written = current.get(serviceId);
    if (written !== undefined && !kept.has(serviceId)) kept.set(serviceId, new Set(backendNames(written)));
    const name = backendOf(serviceId, address, port);
    if (kept.get(serviceId)?.has(name) !== true) names.add(name);
  }
  return names;
}
