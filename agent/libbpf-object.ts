// SPDX-License-Identifier: Apache-2.0
import fs from "node:fs";
import path from "node:path";
import { ShuntError } from "../lib/errors.ts";
import { BpfError, check, errnoText, ffi, lastErrno, takeLog } from "./libbpf-ffi.ts";
import { BpfMap, openPinnedMap } from "./libbpf-map.ts";

export interface LoadOptions {
  /** The object's read-only configuration: `config.encode({...})` of agent/datapath-layout.ts. */
  config?: Uint8Array;
  /** Folder in bpffs where maps are pinned under their names; existing pins are reused with their contents. */
  pinFolder?: string;
  /** Most entries by map name; a map that is pinned with another size keeps it, see `keptSizes`. */
  mapSizes?: Readonly<Record<string, number>>;
  /** Load these programs only; all when left out. */
  programs?: readonly string[];
}

/** A loaded object file: its programs' and maps' descriptors stay open until `close()`. */
export class BpfObject {
  readonly path: string;
  /** Maps that are pinned with another size than was asked for, and their size. */
  readonly keptSizes: ReadonlyMap<string, number>;
  readonly #handle: bigint;
  readonly #maps = new Map<string, number>();
  readonly #programs = new Map<string, number>();

  constructor(objectPath: string, handle: bigint, keptSizes: ReadonlyMap<string, number>) {
    this.path = objectPath;
    this.keptSizes = keptSizes;
    this.#handle = handle;
    for (const map of each(handle, "bpf_object__next_map"))
      this.#maps.set(ffi().bpf_map__name(map), ffi().bpf_map__fd(map));
    for (const program of each(handle, "bpf_object__next_program")) {
      const fd = ffi().bpf_program__fd(program);
      if (fd >= 0) this.#programs.set(ffi().bpf_program__name(program), fd);
    }
  }

  /** Names of the loaded programs. */
  get programs(): string[] {
    return [...this.#programs.keys()];
  }

  /** The descriptor of a program. */
  programFd(name: string): number {
    const fd = this.#programs.get(name);
    if (fd === undefined) throw new ShuntError(`${this.path} has no loaded program ${name}`);
    return fd;
  }

  /** A map; its descriptor belongs to this object, so do not close it. */
  map(name: string): BpfMap {
    const fd = this.#maps.get(name);
    if (fd === undefined) throw new ShuntError(`${this.path} has no map ${name}`);
    return new BpfMap(fd);
  }

  close(): void {
    ffi().bpf_object__close(this.#handle);
  }
}

/**
 * Loads an object file into the kernel: sets its configuration, reuses or makes pinned maps. Throws ShuntError
 * with the end of the verifier's log when the kernel refuses it; nothing stays loaded then.
 */
export function loadObject(objectPath: string, options: LoadOptions = {}): BpfObject {
  takeLog();
  const handle: bigint | null = ffi().bpf_object__open_file(objectPath, null);
  if (!handle) throw openError(objectPath);
  try {
    const keptSizes = prepareMaps(handle, options);
    preparePrograms(handle, options);
    const result = ffi().bpf_object__load(handle);
    if (result < 0) throw loadError(objectPath, -result, options);
    return new BpfObject(objectPath, handle, keptSizes);
  } catch (error) {
    ffi().bpf_object__close(handle);
    throw error;
  }
}

function prepareMaps(handle: bigint, options: LoadOptions): ReadonlyMap<string, number> {
  const kept = new Map<string, number>();
  if (options.pinFolder !== undefined) fs.mkdirSync(options.pinFolder, { recursive: true, mode: 0o700 });
  for (const map of each(handle, "bpf_object__next_map")) {
    const name: string = ffi().bpf_map__name(map);
    if (name.endsWith(".rodata")) {
      if (options.config === undefined) continue;
      const result = ffi().bpf_map__set_initial_value(map, options.config, options.config.length);
      check(result, `The configuration (${options.config.length} bytes) does not fit ${name}`);
      continue;
    }
    if (!name.startsWith("sh_")) continue; // scratch space and .bss are one object's own
    const wanted = options.mapSizes?.[name];
    const pin = options.pinFolder === undefined ? undefined : path.join(options.pinFolder, name);
    if (wanted !== undefined) {
      const size = pin === undefined ? wanted : (pinnedSize(pin) ?? wanted);
      check(ffi().bpf_map__set_max_entries(map, size), `Cannot size map ${name}`);
      if (size !== wanted) kept.set(name, size);
    }
    if (pin !== undefined) check(ffi().bpf_map__set_pin_path(map, pin), `Cannot pin map ${name}`);
  }
  return kept;
}

function pinnedSize(pin: string): number | undefined {
  if (!fs.existsSync(pin)) return undefined;
  const map = openPinnedMap(pin);
  map.close();
  return map.capacity;
}

function preparePrograms(handle: bigint, options: LoadOptions): void {
  if (options.programs === undefined) return;
  for (const program of each(handle, "bpf_object__next_program"))
    ffi().bpf_program__set_autoload(program, options.programs.includes(ffi().bpf_program__name(program)));
}

function* each(handle: bigint, next: "bpf_object__next_map" | "bpf_object__next_program"): Generator<bigint> {
  let item: bigint | null = null;
  for (;;) {
    item = ffi()[next](handle, item);
    if (!item) return;
    yield item;
  }
}

function openError(objectPath: string): ShuntError {
  const errno = lastErrno();
  takeLog();
  return new ShuntError(`Cannot open BPF object ${objectPath}: ${errnoText(errno)}`, {
    code: "BpfObject",
    remedy: "Compile the kernel programs: sh scripts/build.sh",
  });
}

function loadError(objectPath: string, errno: number, options: LoadOptions): ShuntError {
  const log = takeLog();
  const pins = options.pinFolder;
  const mismatch = log.some((line) => line.includes("parameter mismatch"));
  const remedy = mismatch
    ? `The maps pinned in ${pins} have another layout: they belong to another version of the agent`
    : errno === 1
      ? "Loading BPF programs needs root (CAP_BPF, CAP_NET_ADMIN) and a kernel that is not locked down"
      : "Is the kernel new enough (5.10)? The preflight names what is missing";
  const error = new BpfError(`The kernel refused ${path.basename(objectPath)}`, errno, remedy);
  error.message += `\n${log.slice(-25).join("\n")}`;
  return error;
}
