// SPDX-License-Identifier: Apache-2.0
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdir, rename, writeFile } from "node:fs/promises";
import path from "node:path";
import { ShuntError } from "../../../lib/errors.ts";
import type { ClusterPlan } from "./plan.ts";

/** Folder of all sandbox clusters: everything of one is derivable from its sub-folder. */
export const stateRoot = "/var/lib/shunt/clusters";

/** Folder of the cluster `name`. */
export function clusterDir(name: string): string {
  return path.join(stateRoot, name);
}

/** Folder of a node of the cluster, or of its switch ("switch" is no node's name). */
export function nodeDir(cluster: string, node: string): string {
  return path.join(clusterDir(cluster), "nodes", node);
}

/** Claims the name: of two that do it at once, one wins. Throws when the cluster is there, whole or half. */
export async function claimCluster(name: string): Promise<void> {
  await mkdir(stateRoot, { recursive: true, mode: 0o711 });
  try {
    await mkdir(clusterDir(name), { mode: 0o700 });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== "EEXIST") throw cause;
    throw new ShuntError(`A sandbox cluster named "${name}" exists already`, {
      code: "AlreadyExists",
      remedy: `Choose another --name, or remove it first: shunt cluster delete --name ${name}`,
      cause,
    });
  }
}

/** Replaces a file in one step. */
export async function writeAtomically(file: string, data: string | Uint8Array, mode = 0o644): Promise<void> {
  const next = path.join(path.dirname(file), `.${path.basename(file)}.new`);
  await writeFile(next, data, { mode });
  await rename(next, file);
}

/** Records what the cluster is made of. */
export async function writePlan(plan: ClusterPlan): Promise<void> {
  await writeAtomically(
    path.join(clusterDir(plan.name), "cluster.json"),
    `${JSON.stringify(plan, null, 2)}\n`,
  );
}

/** The record of a cluster; undefined when there is none or it was cut off half-way. */
export function readPlan(name: string): ClusterPlan | undefined {
  try {
    return JSON.parse(readFileSync(path.join(clusterDir(name), "cluster.json"), "utf8")) as ClusterPlan;
  } catch {
    return undefined;
  }
}

/** Names of all clusters, whole or half. */
export function clusterNames(): string[] {
  if (!existsSync(stateRoot)) return [];
  return readdirSync(stateRoot, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name)
    .sort();
}

/**
 * The node's first process as the machine sees it, when it is alive. A number that now belongs to another
 * process (its start time differs) is not taken for it.
 */
export function initPid(cluster: string, node: string): number | undefined {
  try {
    const [pid, start] = readFileSync(path.join(nodeDir(cluster, node), "init.pid"), "utf8")
      .trim()
      .split(" ");
    return processStart(Number(pid)) === start ? Number(pid) : undefined;
  } catch {
    return undefined;
  }
}

/** Start time of a process in clock ticks, the 22nd field of its stat; undefined when there is none. */
function processStart(pid: number): string | undefined {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
}
