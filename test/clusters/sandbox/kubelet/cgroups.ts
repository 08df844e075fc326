// SPDX-License-Identifier: Apache-2.0
import { access, constants, mkdir, readdir, readFile, rmdir } from "node:fs/promises";
import { join } from "node:path";

/** Mount points of every cgroup hierarchy, version 1 and 2, that this process may change. */
export async function cgroupMounts(mountinfo?: string): Promise<string[]> {
  const table = mountinfo ?? (await readFile("/proc/self/mountinfo", "utf8"));
  const mounts: string[] = [];
  for (const line of table.split("\n")) {
    const [before = "", after = ""] = line.split(" - ");
    const fields = before.split(" ");
    const isWritable = (fields[5] ?? "").split(",").includes("rw");
    if (/^cgroup2? /.test(after) && isWritable && fields[4] !== undefined) mounts.push(fields[4]);
  }
  return [...new Set(mounts)];
}

/** Makes a pod's cgroup in every hierarchy that lets itself be changed. */
export async function createCgroup(path: string): Promise<void> {
  for (const mount of await cgroupMounts()) {
    try {
      await access(mount, constants.W_OK);
      await mkdir(join(mount, path), { recursive: true });
    } catch {
      // A hierarchy that refuses (read-only, or no room) only lacks accounting.
    }
  }
}

/** Removes a pod's cgroup, and what its containers left in it, from every hierarchy. */
export async function removeCgroup(path: string): Promise<void> {
  for (const mount of await cgroupMounts()) await removeTree(join(mount, path));
}

/** Ids of all pods that have a cgroup in any hierarchy. */
export async function podsWithCgroup(): Promise<Set<string>> {
  const ids = new Set<string>();
  for (const mount of await cgroupMounts())
    for (const folder of ["", "burstable", "besteffort"])
      for (const name of await readdir(join(mount, "kubepods", folder)).catch(() => []))
        if (name.startsWith("pod")) ids.add(name.slice(3));
  return ids;
}

async function removeTree(folder: string): Promise<void> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  for (const entry of entries) if (entry.isDirectory()) await removeTree(join(folder, entry.name));
  // A process that is still ending keeps it busy; the next clean-up gets it.
  await rmdir(folder).catch(() => undefined);
}
