// SPDX-License-Identifier: Apache-2.0
import { existsSync, readdirSync, rmSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { errorMessage } from "../lib/errors.ts";
import type { Logger } from "../lib/log.ts";
import { config as configLayout, type ProgramPlace, policyFlow, programs } from "./datapath-layout.ts";
import { FlowStats } from "./flow-collector.ts";
import {
  attachCgroup,
  attachTc,
  attachXdp,
  type BpfMap,
  type BpfObject,
  detachPinned,
  detachTc,
  loadObject,
  openPinnedMap,
} from "./libbpf.ts";
import type { PolicyMaps } from "./policy/policy-table.ts";
import type { ServiceMaps } from "./service-table.ts";

export type DatapathConfig = Partial<Parameters<typeof configLayout.encode>[0]>;

/** What hangs where, for the status. */
export interface AttachmentReport {
  target: string;
  program: string;
  kind: string;
}

const mapNames = [
  "sh_endpoints",
  "sh_ipcache",
  "sh_services",
  "sh_backends",
  "sh_maglev",
  "sh_members",
  "sh_affinity",
  "sh_source_ranges",
  "sh_lb_stats",
  "sh_nat",
  "sh_flow_stats",
  "sh_socket_nat",
  "sh_counters",
  "sh_policy_of",
  "sh_policy_tables",
  "sh_policy_networks",
  "sh_policy_ports",
  "sh_policy_prefixes",
  "sh_policy_flows",
  "sh_policy_denials",
] as const;
export type MapName = (typeof mapNames)[number];

/**
 * The kernel programs of this node: loaded with one configuration, attached by pinned links that the next agent
 * adopts. A failed load leaves what ran before in place.
 */
export class Datapath {
  readonly #pinFolder: string;
  readonly #objectFolder: string;
  readonly #log: Logger;
  readonly #mapSizes: Readonly<Record<string, number>>;
  readonly #programs: readonly ProgramPlace[];
  #objects = new Map<string, BpfObject>();
  #maps = new Map<MapName, BpfMap>();
  #config: Buffer | undefined;
  readonly #attached = new Map<string, AttachmentReport>();

  constructor(options: {
    pinFolder: string;
    objectFolder: string;
    log: Logger;
    mapSizes?: Readonly<Record<string, number>>;
    /** Also load what runs in the driver of an uplink. */
    withDriver?: boolean;
  }) {
    this.#pinFolder = options.pinFolder;
    this.#objectFolder = options.objectFolder;
    this.#log = options.log;
    this.#mapSizes = options.mapSizes ?? {};
    this.#programs = programs.filter(({ on }) => on !== "uplink driver" || options.withDriver === true);
  }

  get loaded(): boolean {
    return this.#objects.size > 0;
  }

  get attachments(): AttachmentReport[] {
    return [...this.#attached.values()];
  }

  map(name: MapName): BpfMap {
    const map = this.#maps.get(name);
    if (map === undefined) throw new Error(`map ${name} is not loaded`);
    return map;
  }

  /** Looked up at each use: loading again closes the handles of before. */
  get serviceMaps(): ServiceMaps {
    const mapOf = (name: MapName) => this.map(name);
    return {
      get services() {
        return mapOf("sh_services");
      },
      get backends() {
        return mapOf("sh_backends");
      },
      get maglev() {
        return mapOf("sh_maglev");
      },
      get members() {
        return mapOf("sh_members");
      },
      get sourceRanges() {
        return mapOf("sh_source_ranges");
      },
      get nat() {
        const map = mapOf("sh_nat");
        return {
          entries: () => map.entries(),
          deleteMany: (keys: readonly Uint8Array[]) => {
            map.deleteMany(keys);
            new FlowStats(mapOf("sh_flow_stats")).addCollected(keys.length);
          },
        };
      },
      get socketNat() {
        return mapOf("sh_socket_nat");
      },
    };
  }

  /** Looked up at each use, like those of services. */
  get policyMaps(): PolicyMaps {
    const mapOf = (name: MapName) => this.map(name);
    return {
      get policyOf() {
        return mapOf("sh_policy_of");
      },
      get policyTables() {
        return mapOf("sh_policy_tables");
      },
      get policyNetworks() {
        return mapOf("sh_policy_networks");
      },
      get policyPorts() {
        return mapOf("sh_policy_ports");
      },
      get policyPrefixes() {
        return mapOf("sh_policy_prefixes");
      },
    };
  }

  /**
   * Loads all objects with this configuration, unless they already run with it. Returns true when programs are
   * new, so that everything must be attached again. Throws and changes nothing when the kernel refuses one.
   */
  load(config: DatapathConfig): boolean {
    const encoded = Buffer.from(configLayout.encode(config));
    if (this.loaded && this.#config?.equals(encoded)) return false;
    const next = new Map<string, BpfObject>();
    const pinFolder = join(this.#pinFolder, "maps");
    const mapSizes = this.#mapSizes;
    try {
      for (const object of new Set(this.#programs.map((place) => place.object)))
        next.set(
          object,
          loadObject(join(this.#objectFolder, object), { config: encoded, pinFolder, mapSizes }),
        );
    } catch (error) {
      for (const object of next.values()) object.close();
      throw error;
    }
    const previous = this.#objects;
    this.#objects = next;
    this.#config = encoded;
    this.#maps = new Map(mapNames.map((name) => [name, this.#findMap(name)]));
    for (const object of previous.values()) object.close();
    this.#log.info("kernel programs loaded", { objects: [...next.keys()] });
    for (const [map, size] of new Map([...next.values()].flatMap((object) => [...object.keptSizes])))
      this.#log.warn("map keeps the size that it was made with", { map, size, wanted: mapSizes[map] });
    return true;
  }

  /** Whether programs of an agent with another layout of maps still run, as an upgrade leaves them. */
  get hasOlder(): boolean {
    return this.#olderFolders().length > 0;
  }

  /** Folders of agents with another layout of maps, as an upgrade leaves them. */
  #olderFolders(): string[] {
    const root = dirname(this.#pinFolder);
    if (!existsSync(root)) return [];
    const folders = readdirSync(root).filter(
      (name) => /^v\d+$/.test(name) && name !== basename(this.#pinFolder),
    );
    return folders.map((name) => join(root, name));
  }

  /**
   * Flows live on when an agent with another layout follows, as far as theirs is the same. To be called just before the programs
   * are attached: until then those of the other one make flows.
   */
  takeOverFlows(): void {
    for (const folder of this.#olderFolders())
      for (const name of ["sh_nat", "sh_socket_nat", "sh_policy_flows"] as const) {
        const path = join(folder, "maps", name);
        if (!existsSync(path)) continue;
        const older = openPinnedMap(path);
        const map = this.map(name);
        const isSame = older.info.keySize === map.info.keySize && older.info.valueSize === map.info.valueSize;
        const entries = isSame ? older.entries() : [];
        const missing = entries.filter(([key]) => map.get(key) === undefined);
        map.setMany(name === "sh_policy_flows" ? missing.map(judgedAnew) : missing);
        older.close();
        this.#log.info("flows taken over", { from: path, taken: isSame });
      }
  }

  /** Takes away what an agent with another layout left attached. Call it once the own programs are all there. */
  retireOlder(): void {
    for (const folder of this.#olderFolders()) {
      rmSync(folder, { recursive: true, force: true });
      this.#log.info("programs of an older agent removed", { folder });
    }
  }

  #findMap(name: MapName): BpfMap {
    let last: unknown;
    for (const object of this.#objects.values())
      try {
        return object.map(name);
      } catch (error) {
        last = error;
      }
    throw last;
  }

  /** Runs the programs of a kind of device on this one; those of one direction alone when it is given. */
  attachDevice(on: ProgramPlace["on"], device: string, ifindex: number, only?: "ingress" | "egress"): void {
    for (const place of this.#programs.filter((candidate) => candidate.on === on)) {
      const direction = place.hook as "ingress" | "egress";
      if (only !== undefined && direction !== only) continue;
      const { kind } = attachTc({
        ifindex,
        direction,
        programFd: this.#programFd(place),
        pinPath: this.#pin(device, direction),
        // A tcx link waits for an RCU grace period (13 ms here), a clsact filter does not; both are replaced
        // without losing a packet, and a filter goes with its device.
        clsact: on === "pod host veth",
      });
      if (on !== "pod host veth")
        this.#attached.set(`${device} ${direction}`, {
          target: `${device} ${direction}`,
          program: place.program,
          kind,
        });
    }
  }

  /** Runs the program of an uplink's driver; throws when the driver cannot, or has another's. */
  attachDriver(device: string, ifindex: number): void {
    const place = this.#programs.find(({ on }) => on === "uplink driver");
    if (place === undefined) throw new Error("the driver's program was not asked for");
    const target = `${device} driver`;
    const { kind } = attachXdp({
      ifindex,
      programFd: this.#programFd(place),
      pinPath: this.#driverPin(device),
    });
    this.#attached.set(target, { target, program: place.program, kind });
  }

  /** Leaves only these devices with a program in their driver. */
  keepDrivers(devices: readonly string[]): void {
    for (const device of this.#pinned(/^xdp-(.+)$/).filter((name) => !devices.includes(name))) {
      detachPinned(this.#driverPin(device));
      this.#attached.delete(`${device} driver`);
    }
  }

  /** Takes the programs off a device that stays. */
  detachDevice(device: string, ifindex: number): void {
    for (const direction of ["ingress", "egress"] as const) {
      detachTc({ ifindex, direction, pinPath: this.#pin(device, direction) });
      this.#attached.delete(`${device} ${direction}`);
    }
  }

  /** Removes the pins of a device that is gone. */
  forgetDevice(device: string): void {
    for (const direction of ["ingress", "egress"] as const) {
      const pin = this.#pin(device, direction);
      // Unlinking is all that a link without a device needs; it answers no call any more.
      rmSync(pin, { force: true });
      this.#attached.delete(`${device} ${direction}`);
    }
  }

  /** Devices that have pinned links. */
  pinnedDevices(): string[] {
    return this.#pinned(/^tc-(.+)-(?:in|e)gress$/);
  }

  #pinned(pattern: RegExp): string[] {
    const folder = join(this.#pinFolder, "links");
    if (!existsSync(folder)) return [];
    const names = readdirSync(folder).map((name) => pattern.exec(name)?.[1]);
    return [...new Set(names.filter((name) => name !== undefined).map((name) => name.replaceAll(":", ".")))];
  }

  attachSockets(cgroupPath: string): void {
    for (const place of programs.filter((candidate) => candidate.on === "cgroup")) {
      const hook = place.hook as Parameters<typeof attachCgroup>[0]["hook"];
      const pinPath = join(this.#pinFolder, "links", `cgroup-${hook}`);
      const { kind } = attachCgroup({ cgroupPath, hook, programFd: this.#programFd(place), pinPath });
      this.#attached.set(`cgroup ${hook}`, { target: `cgroup ${hook}`, program: place.program, kind });
    }
  }

  detachSockets(): void {
    for (const place of programs.filter((candidate) => candidate.on === "cgroup")) {
      this.#attached.delete(`cgroup ${place.hook}`);
      try {
        detachPinned(join(this.#pinFolder, "links", `cgroup-${place.hook}`));
      } catch (error) {
        this.#log.warn("cannot detach", { hook: place.hook, error: errorMessage(error) });
      }
    }
  }

  #programFd(place: ProgramPlace): number {
    const object = this.#objects.get(place.object);
    if (object === undefined) throw new Error(`${place.object} is not loaded`);
    return object.programFd(place.program);
  }

  #pin(device: string, direction: string): string {
    return join(this.#pinFolder, "links", `tc-${pinName(device)}-${direction}`);
  }

  #driverPin(device: string): string {
    return join(this.#pinFolder, "links", `xdp-${pinName(device)}`);
  }
}

/** Names in bpffs have no dots, those of devices no colons. */
const pinName = (device: string): string => device.replaceAll(".", ":");

/** Of a connection under policies it stays known who opened it; the words that let it through were of other sets. */
function judgedAnew([key, value]: [Uint8Array, Uint8Array]): [Uint8Array, Uint8Array] {
  const flow = policyFlow.decode(value);
  return [
    key,
    policyFlow.encode({
      ...flow,
      word: flow.word.map((byte, index) => (isJudged(flow.word, index) ? 0xff : byte)),
    }),
  ];
}

/** Whether the word of four bytes that this byte belongs to is not zero. */
const isJudged = (words: Uint8Array, index: number): boolean =>
  words.subarray(index & ~3, (index & ~3) + 4).some((byte) => byte !== 0);
