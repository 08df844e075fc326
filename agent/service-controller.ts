// SPDX-License-Identifier: Apache-2.0

import type { Informer } from "../lib/kube-informer.ts";
import { objectKey } from "../lib/kube-informer.ts";
import type { KubeObject } from "../lib/kube-object.ts";
import type { Logger } from "../lib/log.ts";
import {
  type HealthCheck,
  healthCheckOf,
  hostPortGroups,
  isHandled,
  type Place,
  type ServiceGroup,
  serviceGroups,
} from "./service-model.ts";
import { serviceNameLabel } from "./service-slices.ts";
import { type GoneSockets, type ServiceMaps, type ServiceProblem, ServiceTable } from "./service-table.ts";

/** Follows Services, EndpointSlices and this node's pods, and keeps the service maps in step. */
export class ServiceController {
  readonly #informers: { services: Informer; slices: Informer; pods: Informer };
  #place: Place;
  readonly #log: Logger;
  readonly #dirty = new Set<string>();
  readonly #slicesOf = new Map<string, KubeObject[]>();
  /** Keys of the groups that each source (Service or pod) has in the table. */
  readonly #groupsOf = new Map<string, string[]>();
  readonly #healthChecks = new Map<string, HealthCheck>();
  readonly #onDirty: () => void;
  readonly #onGone: ((gone: GoneSockets) => void) | undefined;
  #table: ServiceTable | undefined;
  #enabled = false;
  #complete = false;

  constructor(options: {
    informers: { services: Informer; slices: Informer; pods: Informer };
    nodeName: string;
    log: Logger;
    /** Told of sockets whose backend is no more. */
    onGone?: (gone: GoneSockets) => void;
    /** Asked for when something changed; answers by calling `sync` soon. */
    onDirty: () => void;
  }) {
    this.#informers = options.informers;
    this.#place = { nodeName: options.nodeName };
    this.#log = options.log;
    this.#onDirty = options.onDirty;
    this.#onGone = options.onGone;
    const mark = (key: string) => {
      this.#dirty.add(key);
      this.#onDirty();
    };
    options.informers.services.onChange(({ object }) => mark(`service ${objectKey(object)}`));
    options.informers.pods.onChange(({ object }) => mark(`pod ${objectKey(object)}`));
    options.informers.slices.onChange(({ type, object, previous }) => {
      for (const slice of previous === undefined ? [object] : [previous, object]) {
        const owner = ownerOf(slice);
        if (owner === undefined) continue;
        const others = (this.#slicesOf.get(owner) ?? []).filter(
          ({ metadata }) => metadata.name !== slice.metadata.name,
        );
        const isCurrent = type !== "deleted" && slice === object;
        const slices = isCurrent ? [...others, slice] : others;
        if (slices.length > 0) this.#slicesOf.set(owner, slices);
        else this.#slicesOf.delete(owner);
        mark(`service ${owner}`);
      }
    });
  }

  /** True once the maps hold all that the API server has. */
  get complete(): boolean {
    return this.#complete;
  }

  /** What is not in the maps as it should be, for example two Services that want one address. */
  get problems(): readonly ServiceProblem[] {
    return this.#table?.problems ?? [];
  }

  /** Those of these endpoints that are there again. */
  known(names: ReadonlySet<string>): Set<string> {
    return this.#table?.known(names) ?? new Set();
  }

  /** What is in the maps, by the numbers there. */
  get groups(): ServiceTable["groups"] {
    return this.#table?.groups ?? [];
  }

  /** Health checks to answer on this node. */
  get healthChecks(): HealthCheck[] {
    return this.#enabled ? [...this.#healthChecks.values()] : [];
  }

  /** Entries and size of each map. */
  get fill(): ServiceTable["fill"] {
    return this.#table?.fill ?? [];
  }

  /** The zone of this node: hints go by it. */
  setZone(zone: string | undefined): void {
    if (zone === this.#place.zone) return;
    this.#place = { nodeName: this.#place.nodeName, ...(zone === undefined ? {} : { zone }) };
    for (const service of this.#informers.services.list()) this.#dirty.add(`service ${objectKey(service)}`);
    this.#onDirty();
  }

  get size(): { groups: number; frontends: number; backends: number } {
    return this.#table?.size ?? { groups: 0, frontends: 0, backends: 0 };
  }

  /** Services that this agent handles, for the metrics. */
  get serviceCount(): number {
    return this.#informers.services.list().filter(isHandled).length;
  }

  /** Fills the maps from now on (`undefined`: empties them). */
  setMaps(maps: ServiceMaps | undefined): void {
    if (maps === undefined) {
      if (this.#enabled) this.#table?.clear();
      this.#healthChecks.clear();
      this.#enabled = false;
      this.#complete = false;
      this.#table = undefined;
      return;
    }
    if (this.#enabled) return;
    this.#enabled = true;
    this.#table = new ServiceTable(maps, this.#onGone);
    this.#table.inherit();
    this.#groupsOf.clear();
  }

  /** Writes what changed; the first time everything, after which the rest of an earlier agent goes. */
  sync(): void {
    const { services, slices, pods } = this.#informers;
    if (!this.#enabled || this.#table === undefined) return;
    if (!services.synced || !slices.synced || !pods.synced) return;
    if (!this.#complete) {
      for (const service of services.list()) this.#dirty.add(`service ${objectKey(service)}`);
      for (const pod of pods.list()) this.#dirty.add(`pod ${objectKey(pod)}`);
    }
    const sources = [...this.#dirty];
    const groups: ServiceGroup[] = [];
    const gone: string[] = [];
    for (const source of sources) {
      const wanted = this.#groups(source);
      const keys = wanted.map((group) => group.key);
      gone.push(...(this.#groupsOf.get(source) ?? []).filter((key) => !keys.includes(key)));
      if (keys.length > 0) this.#groupsOf.set(source, keys);
      else this.#groupsOf.delete(source);
      groups.push(...wanted);
    }
    const before = this.#table.problems;
    this.#table.apply(groups, gone);
    const known = new Set(before.map(({ group, message }) => `${group} ${message}`));
    for (const { group, message } of this.#table.problems)
      if (!known.has(`${group} ${message}`))
        this.#log.warn("service is not as it should be", { group, message });
    for (const source of sources) this.#dirty.delete(source);
    if (!this.#complete) {
      const pruned = this.#table.prune();
      this.#complete = true;
      this.#log.info("services programmed", { ...this.#table.size, pruned });
    }
  }

  /** Compares the maps with what they should hold and mends differences, which somebody else must have made. */
  verify(): void {
    if (!this.#enabled || !this.#complete || this.#table === undefined) return;
    const { mended, removed } = this.#table.verify();
    if (mended.length > 0 || removed > 0)
      this.#log.warn("service maps were not as they should be", { mended: mended.slice(0, 20), removed });
  }

  #groups(source: string): ServiceGroup[] {
    const [kind, key = ""] = source.split(" ");
    try {
      if (kind === "pod") {
        const pod = this.#informers.pods.get(key);
        return pod === undefined ? [] : hostPortGroups(pod);
      }
      const service = this.#informers.services.get(key);
      const slices = this.#slicesOf.get(key) ?? [];
      const check = service === undefined ? undefined : healthCheckOf(service, slices, this.#place);
      if (check === undefined) this.#healthChecks.delete(key);
      else this.#healthChecks.set(key, check);
      return service === undefined ? [] : serviceGroups(service, slices, this.#place);
    } catch (error) {
      this.#log.error("object left out: it cannot be read", { object: source, error });
      return [];
    }
  }
}

function ownerOf(slice: KubeObject): string | undefined {
  const name = slice.metadata.labels?.[serviceNameLabel];
  return name === undefined ? undefined : `${slice.metadata.namespace}/${name}`;
}
