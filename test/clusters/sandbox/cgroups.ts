// SPDX-License-Identifier: Apache-2.0
import { existsSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { sleep, waitFor } from "../../../lib/wait.ts";

/** A mounted cgroup hierarchy of the machine. */
export interface CgroupHierarchy {
  mountPoint: string;
  version: 1 | 2;
  /** Controllers of a version 1 hierarchy, or its name=…; empty for version 2. */
  controllers: string[];
}

/** Folder below each hierarchy's root in which all sandbox clusters live. */
const top = "shunt";

/** Reads the hierarchies from the text of /proc/self/mountinfo. */
export function parseHierarchies(mountinfo: string): CgroupHierarchy[] {
  const found = new Map<string, CgroupHierarchy>();
  for (const line of mountinfo.split("\n")) {
    const [before, after] = line.split(" - ");
    const mountPoint = before?.split(" ")[4];
    const [type, , options = ""] = after?.split(" ") ?? [];
    if (mountPoint === undefined || (type !== "cgroup" && type !== "cgroup2")) continue;
    const controllers = type === "cgroup2" ? [] : options.split(",").filter((word) => word !== "rw");
    found.set(`${type} ${controllers.join()}`, {
      mountPoint,
      version: type === "cgroup2" ? 2 : 1,
      controllers,
    });
  }
  return [...found.values()];
}

/** The machine's hierarchies. */
export function readHierarchies(): CgroupHierarchy[] {
  return parseHierarchies(readFileSync("/proc/self/mountinfo", "utf8"));
}

/** Folders of `group` ("<cluster>/<node>") in every hierarchy. */
export function cgroupDirs(hierarchies: readonly CgroupHierarchy[], group: string): string[] {
  return hierarchies.map(({ mountPoint }) => path.join(mountPoint, top, group));
}

/** Folder of `group` in the version 2 hierarchy. */
export function unifiedDir(hierarchies: readonly CgroupHierarchy[], group: string): string {
  const unified = hierarchies.find(({ version }) => version === 2);
  return path.join(unified?.mountPoint ?? "/sys/fs/cgroup/unified", top, group);
}

/** Makes the cgroups of `group` in every hierarchy, fit for processes. */
export async function createCgroups(
  hierarchies: readonly CgroupHierarchy[],
  group: string,
): Promise<string[]> {
  const steps = [top, ...group.split("/")];
  for (const hierarchy of hierarchies) {
    let dir = hierarchy.mountPoint;
    for (const [index, step] of steps.entries()) {
      const parent = dir;
      dir = path.join(dir, step);
      await mkdir(dir, { recursive: true });
      if (hierarchy.controllers.includes("cpuset"))
        for (const file of ["cpuset.cpus", "cpuset.mems"])
          writeFileSync(path.join(dir, file), readFileSync(path.join(parent, file)));
      if (hierarchy.version === 2 && index < steps.length - 1) delegateControllers(dir);
    }
  }
  return cgroupDirs(hierarchies, group);
}

/** Version 2 alone: hands on to the children what this cgroup was given. */
function delegateControllers(dir: string): void {
  const controllers = readFileSync(path.join(dir, "cgroup.controllers"), "utf8").split(/\s+/);
  for (const controller of controllers)
    if (controller !== "") writeFileSync(path.join(dir, "cgroup.subtree_control"), `+${controller}`);
}

function subgroups(dir: string): string[] {
  if (!existsSync(dir)) return [];
  const below: string[] = [];
  for (const entry of readdirSync(dir, { withFileTypes: true }))
    if (entry.isDirectory()) below.push(...subgroups(path.join(dir, entry.name)));
  return [...below, dir];
}

/** Processes in `dir` and below it. */
export function cgroupProcesses(dir: string): number[] {
  const pids = subgroups(dir).flatMap((each) => {
    try {
      return readFileSync(path.join(each, "cgroup.procs"), "utf8").split("\n");
    } catch {
      return [];
    }
  });
  return pids.filter((text) => text !== "" && text !== "0").map(Number);
}

/**
 * Kills every process of `group`, in whichever hierarchy it is found, and waits until they are gone. A process
 * belongs to the cluster exactly when it is in its cgroups, so this works without any record.
 */
export async function killCgroups(hierarchies: readonly CgroupHierarchy[], group: string): Promise<void> {
  const dirs = cgroupDirs(hierarchies, group);
  await waitFor(
    `the processes of ${group} to end`,
    () => {
      let left = 0;
      for (const dir of dirs) {
        for (const each of subgroups(dir)) tryWrite(path.join(each, "freezer.state"), "THAWED");
        tryWrite(path.join(dir, "cgroup.freeze"), "0");
        const pids = cgroupProcesses(dir);
        left += pids.length;
        if (pids.length > 0 && !tryWrite(path.join(dir, "cgroup.kill"), "1"))
          for (const pid of pids) tryKill(pid);
      }
      return left === 0;
    },
    { timeoutMs: 30_000, intervalMs: 25 },
  );
  // Killed ones stay in /proc until their parent, the machine's process 1, has reaped them; not all do.
  const deadline = Date.now() + 5_000;
  while (membersInProc(group) && Date.now() < deadline) await sleep(25);
}

/** Whether /proc shows a process of `group`: ended ones, not yet reaped, are in no list of the cgroup itself. */
function membersInProc(group: string): boolean {
  return readdirSync("/proc").some((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cgroup`, "utf8").includes(`/${top}/${group}/`);
    } catch {
      return false;
    }
  });
}

/** Removes the (empty) cgroups of `group` everywhere, and the common parent when it was the last. */
export async function removeCgroups(hierarchies: readonly CgroupHierarchy[], group: string): Promise<void> {
  for (const { mountPoint } of hierarchies) {
    const dir = path.join(mountPoint, top, group);
    await waitFor(`cgroup ${dir} to be removed`, () => removeTree(dir), {
      timeoutMs: 10_000,
      intervalMs: 25,
    });
    tryRemove(path.join(mountPoint, top));
  }
}

function removeTree(dir: string): boolean {
  for (const each of subgroups(dir)) rmdirSync(each);
  return true;
}

function tryRemove(dir: string): void {
  try {
    rmdirSync(dir);
  } catch {
    // Another cluster's cgroups are in it, or it is gone.
  }
}

function tryWrite(file: string, text: string): boolean {
  if (!existsSync(file)) return false;
  try {
    writeFileSync(file, text);
    return true;
  } catch {
    return false;
  }
}

function tryKill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It ended by itself.
  }
}
