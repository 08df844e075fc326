// SPDX-License-Identifier: Apache-2.0
import { ShuntError } from "../../../lib/errors.ts";
import { type RunOptions, type RunResult, run } from "../../../lib/run.ts";
import { readHierarchies, unifiedDir } from "./cgroups.ts";
import { initPid } from "./state.ts";

/** Puts itself into the cgroup named first, then becomes the rest. */
const joinAndExec = 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"';

/**
 * The command line that runs `command` on a node: in all its namespaces, and in its cgroup, so that programs
 * attached there see it and deleting the cluster ends it. "switch" is the internet's host.
 */
export function nodeCommand(cluster: string, node: string, command: readonly string[]): string[] {
  const pid = initPid(cluster, node);
  if (pid === undefined)
    throw new ShuntError(`Node ${node} of cluster ${cluster} is not running`, {
      code: "NotRunning",
      remedy: "See what there is with: shunt cluster list",
    });
  const hierarchies = readHierarchies();
  const group = unifiedDir(hierarchies, `${cluster}/${node}`);
  const pureV2 = hierarchies.every(({ version }) => version === 2);
  const namespaces = node === "switch" ? ["-m", "-n", "-p", "-u"] : ["-m", "-n", "-p", "-u", "-i", "-C"];
  return [
    ...["sh", "-euc", joinAndExec, "sh", pureV2 && node !== "switch" ? `${group}/system` : group],
    ...["nsenter", "-t", String(pid), ...namespaces, "--", ...command],
  ];
}

/** Runs a command inside a node's namespaces. Throws RunError when it fails. */
export async function nodeExec(
  cluster: string,
  node: string,
  command: readonly string[],
  options: RunOptions = {},
): Promise<RunResult> {
  const [file, ...args] = nodeCommand(cluster, node, command);
  const env = { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", ...options.env };
  return await run(file!, args, { ...options, env });
}
