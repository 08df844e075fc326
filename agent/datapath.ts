// SPDX-License-Identifier: Apache-2.0
import { existsSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { errorMessage } from "../lib/errors.ts";
import type { Logger } from "../lib/log.ts";
import { config as configLayout, type ProgramPlace, programs } from "./datapath-layout.ts";
import {
  attachCgroup,
  attachTc,
  type BpfMap,
  type BpfObject,
  detachPinned,
  detachTc,
  loadObject,
} from "./libbpf.ts";
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
  "sh_nat",
  "sh_socket_nat",
  "sh_counters",
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
  #objects = new Map<string, BpfObject>();
  #maps = new Map<MapName, BpfMap>();
  #config: Buffer | undefined;
  readonly #attached = new Map<string, AttachmentReport>();

  constructor(options: { pinFolder: string; objectFolder: string; log: Logger }) {
    this.#pinFolder = options.pinFolder;
    this.#objectFolder = options.objectFolder;
    this.#log = options.log;
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
      get nat() {
        return mapOf("sh_nat");
      },
      get socketNat() {
        return mapOf("sh_socket_nat");
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
    try {
      for (const object of new Set(programs.map((place) => place.object)))
        next.set(object, loadObject(join(this.#objectFolder, object), { config: encoded, pinFolder }));
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
    return true;
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
    for (const place of programs.filter((candidate) => candidate.on === on)) {
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
    const folder = join(this.#pinFolder, "links");
    if (!existsSync(folder)) return [];
    const names = readdirSync(folder).map((name) => /^tc-(.+)-(?:in|e)gress$/.exec(name)?.[1]);
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
    // Names in bpffs have no dots, those of devices no colons.
    return join(this.#pinFolder, "links", `tc-${device.replaceAll(".", ":")}-${direction}`);
  }
}
