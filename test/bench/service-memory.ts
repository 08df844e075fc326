// SPDX-License-Identifier: Apache-2.0
// Memory of a process that holds services as the agent does: the objects in informers, a controller, the kernel's maps.
import {
  createReadStream,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import os from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { ShuntError } from "../../lib/errors.ts";
import type { KubeList, KubeObject } from "../../lib/kube-object.ts";
import { run } from "../../lib/run.ts";
import { sleep } from "../../lib/wait.ts";
import type { BenchContext, ServiceMaps, ServiceParts } from "./bench.ts";
import { FedInformer } from "./fed-informer.ts";
import { elsewhere, endpointsPerService, makeServices } from "./made-services.ts";
import { ShuntSide } from "./shunt-side.ts";

/** Objects in one answer of the API server, as the agent asks for them. */
const pageSize = 500;
const settleMs = 3000;
const mebibyte = 1024 * 1024;
const bpffs = "bpffs";

export interface MemoryResult {
  services: number;
  endpoints: number;
  /** Resident, when everything is written and some of it has changed. */
  rssMiB: number;
  /** The most that it was. */
  peakRssMiB: number;
  /** What the kernel counts for the process's maps. */
  mapsMiB: number;
}

/** Starts the process, in mounts of its own, and asks it. */
export async function measureMemory(context: BenchContext, services: number): Promise<MemoryResult> {
  const { command, env } = await context.parts.services.memoryProcess();
  const folder = mkdtempSync(path.join(os.tmpdir(), "shunt-bench-"));
  try {
    mkdirSync(path.join(folder, bpffs));
    const made = makeServices(services, ShuntSide.backends(endpointsPerService));
    writePages(path.join(folder, "services"), made.services);
    writePages(path.join(folder, "slices"), made.slices);
    const script = `mount -t bpf bpf "$1" && shift && exec "$@"`;
    const words = ["-m", "--propagation", "private", "sh", "-c", script, "sh", path.join(folder, bpffs)];
    const result = await run("unshare", [...words, ...command, folder], {
      env,
      timeoutMs: 180_000,
      signal: context.signal,
    });
    return JSON.parse(result.stdout);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function writePages(file: string, objects: readonly KubeObject[]): void {
  const pages: string[] = [];
  for (let first = 0; first < objects.length; first += pageSize)
    pages.push(JSON.stringify({ items: objects.slice(first, first + pageSize) }));
  writeFileSync(file, `${pages.join("\n")}\n`);
}

/** The process's part. `openMaps` loads the programs with their maps below a folder of bpffs. */
export async function holdServices(
  folder: string,
  parts: Pick<ServiceParts, "control" | "coalesced" | "forgetMostOfSlice">,
  openMaps: (pinFolder: string) => ServiceMaps,
): Promise<MemoryResult> {
  const maps = openMaps(path.join(folder, bpffs, "shunt"));
  const sources = {
    services: new FedInformer(),
    slices: new FedInformer(parts.forgetMostOfSlice),
    pods: new FedInformer(),
  };
  const work = parts.coalesced(
    () => control.sync(),
    (error) => {
      throw error;
    },
  );
  const control = parts.control({ sources, maps, nodeName: "n1", onDirty: () => work.trigger() });
  for (const name of ["services", "slices"] as const) sources[name].synced = false;
  for (const name of ["services", "slices"] as const) {
    for await (const page of readPages(path.join(folder, name)))
      for (const object of page.items) sources[name].put(object);
    sources[name].synced = true;
  }
  work.trigger();
  await sleep(settleMs);
  await changeSome(sources.slices);
  await sleep(settleMs);
  await work.stop();
  const entriesOf = (map: string): number => control.fill.find((one) => one.map === map)?.entries ?? 0;
  const services = sources.services.items.size;
  if (entriesOf("services") !== services)
    throw new ShuntError(`The maps hold ${entriesOf("services")} services, expected ${services}`);
  return {
    services,
    endpoints: entriesOf("backends"),
    ...processMemory(),
    mapsMiB: mapsMemoryMiB(),
  };
}

/** Reads a list as the client does: page by page. */
async function* readPages(file: string): AsyncGenerator<KubeList> {
  for await (const page of createInterface({ input: createReadStream(file) })) yield JSON.parse(page);
}

/** Puts one slice in twenty anew, as a watch brings it. */
async function changeSome(slices: FedInformer): Promise<void> {
  for (const [index, slice] of slices.list().entries()) {
    if (index % 20 !== 0) continue;
    const next = JSON.parse(JSON.stringify(slice));
    next.endpoints[0].addresses = [elsewhere(index, 1)[0]];
    slices.put(next);
    if (index % 200 === 0) await sleep(5);
  }
}

/** Of this process, as the kernel counts it. */
export function processMemory(): { rssMiB: number; peakRssMiB: number } {
  const status = readFileSync("/proc/self/status", "utf8");
  const kibibytes = (name: string) => Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(status)![1]);
  return { rssMiB: rounded(kibibytes("VmRSS") / 1024), peakRssMiB: rounded(kibibytes("VmHWM") / 1024) };
}

/** What the kernel has given for every map that this process has open, each counted once. */
export function mapsMemoryMiB(): number {
  const bytes = new Map<string, number>();
  for (const fd of readdirSync("/proc/self/fdinfo")) {
    const text = readInfo(fd);
    const id = /^map_id:\t(\d+)/m.exec(text)?.[1];
    if (id !== undefined) bytes.set(id, Number(/^memlock:\t(\d+)/m.exec(text)?.[1] ?? 0));
  }
  return rounded([...bytes.values()].reduce((sum, one) => sum + one, 0) / mebibyte);
}

function readInfo(fd: string): string {
  try {
    return readFileSync(`/proc/self/fdinfo/${fd}`, "utf8");
  } catch {
    return ""; // the descriptor by which the folder was read
  }
}

const rounded = (value: number): number => Math.round(value * 10) / 10;
