// SPDX-License-Identifier: Apache-2.0
import { addressBytes, addressText } from "../lib/addresses.ts";
import type { Logger } from "../lib/log.ts";
import {
  backendKey,
  backend as backendLayout,
  serviceKey,
  service as serviceLayout,
} from "./datapath-layout.ts";
import { backendOf, type FlowMap, forgetUdpFlows } from "./service-flows.ts";
import type { Backend, Frontend, ServiceGroup } from "./service-model.ts";

/** A flow map that is also written. */
export interface TableMap extends FlowMap {
  setMany(entries: readonly (readonly [Uint8Array, Uint8Array])[]): void;
}

/** The maps that services live in. */
export interface ServiceMaps {
  services: TableMap;
  backends: TableMap;
  nat: FlowMap;
  socketNat: FlowMap;
}

interface Written {
  id: number;
  generation: number;
  protocol: number;
  backends: Backend[];
  frontends: Map<string, Frontend>;
}

const udp = 17;
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const keyOf = ({ address, port, protocol }: Frontend): Uint8Array =>
  serviceKey.encode({ address: addressBytes(address), port, protocol });
const sameBackends = (a: readonly Backend[], b: readonly Backend[]): boolean =>
  a.length === b.length &&
  a.every((one, index) => {
    const other = b[index]!;
    return one.address === other.address && one.port === other.port && one.local === other.local;
  });
const sameFrontend = (a: Frontend, b: Frontend): boolean =>
  a.flags === b.flags && a.affinitySeconds === b.affinitySeconds;

const backendNames = ({ id, backends }: Written): string[] =>
  backends.map(({ address, port }) => backendOf(id, addressBytes(address), port));

/**
 * Keeps the service maps equal to the groups it was given. A change of backends goes to slots of a new
 * generation, then one write switches each frontend over, then flows to what is gone are forgotten and the old
 * slots go: no lookup sees half of it, and what a killed agent left to do is found by its old slots.
 */
export class ServiceTable {
  readonly #maps: ServiceMaps;
  readonly #log: Logger;
  readonly #written = new Map<string, Written>();
  /** Which group answers a frontend, by key. */
  readonly #owners = new Map<string, string>();
  /** Groups that want a frontend that another one has. */
  readonly #refused = new Map<string, ServiceGroup>();
  readonly #backendIds = new Map<string, number>();
  #nextBackendId = 1;
  #nextId = 1;
  /** What an earlier agent left: frontend key to id and generation. */
  #inherited = new Map<string, { id: number; generation: number }>();
  readonly #usedIds = new Set<number>();
  /** Slots that no frontend leads to any more, and the UDP backends that went with them (by `backendOf`). */
  #oldSlots: Uint8Array[] = [];
  #goneBackends = new Set<string>();

  constructor(maps: ServiceMaps, log: Logger) {
    this.#maps = maps;
    this.#log = log;
  }

  get size(): { groups: number; frontends: number; backends: number } {
    let backends = 0;
    for (const written of this.#written.values()) backends += written.backends.length;
    return { groups: this.#written.size, frontends: this.#owners.size, backends };
  }

  /** Reads what an earlier agent left, so that ids and generations go on from there. */
  inherit(): void {
    const protocolOf = new Map<number, number>();
    for (const [key, value] of this.#maps.services.entries()) {
      const { id, generation } = serviceLayout.decode(value);
      this.#inherited.set(hex(key), { id, generation });
      protocolOf.set(id, serviceKey.decode(key).protocol);
      this.#nextId = Math.max(this.#nextId, id + 1);
    }
    for (const [key, value] of this.#maps.backends.entries()) {
      const { serviceId, generation } = backendKey.decode(key);
      const { address, port, id } = backendLayout.decode(value);
      this.#nextBackendId = Math.max(this.#nextBackendId, id + 1);
      this.#nextId = Math.max(this.#nextId, serviceId + 1);
      const protocol = protocolOf.get(serviceId);
      if (protocol !== undefined && generation >= 0)
        this.#backendIds.set(`${addressText(address)} ${port} ${protocol}`, id);
    }
  }

  /** Makes these groups so; `gone` are keys of groups that are no more. */
  apply(groups: readonly ServiceGroup[], gone: readonly string[] = []): void {
    const now = new Set(groups.map((group) => group.key));
    const released = [...gone.filter((key) => !now.has(key))].flatMap((key) => this.#remove(key));
    for (const group of groups) released.push(...this.#write(group));
    // A frontend that came free may be what a refused group waits for.
    if (released.length > 0)
      for (const group of [...this.#refused.values()])
        if (group.frontends.some((frontend) => released.includes(hex(keyOf(frontend))))) this.#write(group);
    this.#dropOld();
  }

  /** Removes what no group owns: the rest of an earlier agent. Call it once all groups are known. */
  prune(): { frontends: number; slots: number } {
    const stale = this.#maps.services.entries().filter(([key]) => !this.#owners.has(hex(key)));
    this.#maps.services.deleteMany(stale.map(([key]) => key));
    const current = new Map([...this.#written.values()].map((written) => [written.id, written]));
    const slots = this.#maps.backends.entries().filter(([key]) => {
      const { serviceId, generation, slot } = backendKey.decode(key);
      const written = current.get(serviceId);
      return written?.generation !== generation || slot >= written.backends.length;
    });
    const kept = new Set([...current.values()].flatMap(backendNames));
    for (const [key, value] of slots) {
      const { address, port } = backendLayout.decode(value);
      const name = backendOf(backendKey.decode(key).serviceId, address, port);
      if (!kept.has(name)) this.#goneBackends.add(name);
    }
    this.#oldSlots.push(...slots.map(([key]) => key));
    this.#dropOld();
    this.#inherited = new Map();
    return { frontends: stale.length, slots: slots.length };
  }

  /** Removes everything. */
  clear(): void {
    this.apply([], [...this.#written.keys()]);
    this.prune();
  }

  #write(group: ServiceGroup): string[] {
    const before = this.#written.get(group.key);
    const frontends = new Map<string, Frontend>();
    this.#refused.delete(group.key);
    for (const frontend of group.frontends) {
      const key = hex(keyOf(frontend));
      const owner = this.#owners.get(key) ?? group.key;
      if (owner === group.key) frontends.set(key, frontend);
      else {
        this.#refused.set(group.key, group);
        this.#log.warn("two services want one address and port", {
          kept: owner,
          refused: group.key,
          frontend,
        });
      }
    }
    const origin = before ?? this.#origin(frontends);
    const changed = before === undefined || !sameBackends(before.backends, group.backends);
    const written: Written = {
      id: origin.id,
      generation: changed ? (origin.generation + 1) >>> 0 : origin.generation,
      protocol: group.protocol,
      backends: group.backends,
      frontends,
    };
    if (changed) this.#maps.backends.setMany(this.#slotsOf(written));
    this.#maps.services.setMany(
      [...frontends]
        .filter(([key, frontend]) => {
          const old = before?.frontends.get(key);
          return changed || old === undefined || !sameFrontend(old, frontend);
        })
        .map(([, frontend]) => [keyOf(frontend), encodeService(written, frontend)] as const),
    );
    for (const key of frontends.keys()) this.#owners.set(key, group.key);
    this.#written.set(group.key, written);
    this.#usedIds.add(written.id);
    const released = [...(before?.frontends ?? [])].filter(([key]) => !frontends.has(key));
    this.#releaseFrontends(released);
    if (changed && before !== undefined) this.#retireSlots(before, written);
    return released.map(([key]) => key);
  }

  #remove(key: string): string[] {
    this.#refused.delete(key);
    const written = this.#written.get(key);
    if (written === undefined) return [];
    this.#written.delete(key);
    this.#usedIds.delete(written.id);
    this.#releaseFrontends([...written.frontends]);
    this.#retireSlots(written);
    return [...written.frontends.keys()];
  }

  #releaseFrontends(frontends: readonly [string, Frontend][]): void {
    for (const [key] of frontends) this.#owners.delete(key);
    this.#maps.services.deleteMany(frontends.map(([, frontend]) => keyOf(frontend)));
  }

  /** The id that an earlier agent gave to one of these frontends, else a new one. */
  #origin(frontends: Map<string, Frontend>): { id: number; generation: number } {
    for (const key of frontends.keys()) {
      const found = this.#inherited.get(key);
      if (found !== undefined && !this.#usedIds.has(found.id)) return found;
    }
    return { id: this.#nextId++, generation: 0 };
  }

  #slotsOf({ id, generation, backends, protocol }: Written): [Uint8Array, Uint8Array][] {
    return backends.map(({ address, port }, slot) => [
      backendKey.encode({ serviceId: id, generation, slot }),
      backendLayout.encode({
        address: addressBytes(address),
        port,
        id: this.#backendId(`${address} ${port} ${protocol}`),
      }),
    ]);
  }

  #backendId(key: string): number {
    let id = this.#backendIds.get(key);
    if (id === undefined) {
      id = this.#nextBackendId++;
      this.#backendIds.set(key, id);
    }
    return id;
  }

  #retireSlots(before: Written, after?: Written): void {
    const { id, generation, backends, protocol } = before;
    for (const slot of backends.keys())
      this.#oldSlots.push(backendKey.encode({ serviceId: id, generation, slot }));
    if (protocol !== udp) return;
    const kept = new Set(after === undefined ? [] : backendNames(after));
    for (const name of backendNames(before)) if (!kept.has(name)) this.#goneBackends.add(name);
  }

  #dropOld(): void {
    forgetUdpFlows(this.#maps, this.#goneBackends);
    this.#maps.backends.deleteMany(this.#oldSlots);
    this.#goneBackends = new Set();
    this.#oldSlots = [];
  }
}

function encodeService({ id, generation, backends }: Written, frontend: Frontend): Uint8Array {
  return serviceLayout.encode({
    id,
    generation,
    backendCount: Math.min(backends.length, 0xffff),
    localCount: backends.filter((backend) => backend.local).length,
    flags: frontend.flags,
    affinitySeconds: frontend.affinitySeconds,
  });
}
