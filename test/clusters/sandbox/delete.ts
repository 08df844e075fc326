// SPDX-License-Identifier: Apache-2.0
import { existsSync, readFileSync, rmdirSync } from "node:fs";
import path from "node:path";
import { ShuntError } from "../../../lib/errors.ts";
import { run } from "../../../lib/run.ts";
import { cgroupDirs, killCgroups, readHierarchies, removeCgroups } from "./cgroups.ts";
import { removeKubeconfig } from "./kubeconfig.ts";
import { requireLinuxRoot } from "./machine.ts";
import { checkName } from "./plan.ts";
import { clusterDir, readPlan, stateRoot } from "./state.ts";

/**
 * Removes a cluster, whole, half-made or crashed: its processes (all that are in its cgroups), and with them
 * their namespaces, mounts, devices and pins, then cgroups, files and the kubeconfig's entries.
 * Returns false when there was nothing.
 */
export async function deleteSandboxCluster(
  name: string,
  env: Record<string, string | undefined>,
): Promise<boolean> {
  checkName(name);
  requireLinuxRoot();
  const dir = clusterDir(name);
  const hierarchies = readHierarchies();
  const found = existsSync(dir) || cgroupDirs(hierarchies, name).some(existsSync);
  const plan = readPlan(name);
  await killCgroups(hierarchies, name);
  await removeCgroups(hierarchies, name);
  await unmountBelow(dir);
  await run("rm", ["-rf", "--one-file-system", "--", dir], { timeoutMs: 120_000 });
  for (const parent of [stateRoot, path.dirname(stateRoot)]) removeIfEmpty(parent);
  await removeKubeconfig(name, plan?.kubeconfig, env);
  return found;
}

/** Nothing of a node is ever mounted in the machine's own namespace; should it be, no file behind it may go. */
export async function unmountBelow(dir: string): Promise<void> {
  for (const mount of mountsBelow(dir).reverse()) await run("umount", ["-l", mount]);
  const left = mountsBelow(dir);
  if (left.length > 0)
    throw new ShuntError(`Cannot remove ${dir}: ${left[0]} is still mounted`, {
      remedy: `Unmount it (umount -l ${left[0]}), then run the command again.`,
    });
}

function mountsBelow(dir: string): string[] {
  return readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .map((line) => line.split(" ")[4] ?? "")
    .filter((mount) => mount === dir || mount.startsWith(`${dir}/`));
}

function removeIfEmpty(dir: string): void {
  try {
    rmdirSync(dir);
  } catch {
    // Another cluster's, or gone.
  }
}
