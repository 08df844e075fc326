// SPDX-License-Identifier: Apache-2.0
import path from "node:path";
import { run } from "../../../lib/run.ts";
import { waitFor } from "../../../lib/wait.ts";
import { nodeExec } from "./exec.ts";
import { imagesDir } from "./images/pack.ts";
import { repoDir, repoInNode } from "./node/launch.ts";

/** Imports docker-archives of the repository's build folder into a node's containerd. */
export async function importImages(
  cluster: string,
  node: string,
  archives: readonly string[],
  signal?: AbortSignal,
): Promise<void> {
  await waitFor(
    `containerd of ${node}`,
    async () => (await nodeExec(cluster, node, ["ctr", "version"], { allowFailure: true })).exitCode === 0,
    { timeoutMs: 90_000, intervalMs: 100, ...(signal === undefined ? {} : { signal }) },
  );
  for (const archive of archives) {
    const inNode = path.join(repoInNode, path.relative(repoDir, imagesDir), path.basename(archive));
    await nodeExec(cluster, node, ["ctr", "-n", "k8s.io", "images", "import", inNode], {
      timeoutMs: 300_000,
      ...(signal === undefined ? {} : { signal }),
    });
  }
}

/** Copies the basic CNI plugins into a node's folder, where containerd looks for `loopback`. */
export async function copyCniPlugins(nodeFolder: string): Promise<void> {
  const plugins = ["loopback", "host-local", "portmap", "bridge", "ptp", "bandwidth"];
  const target = path.join(nodeFolder, "opt/cni/bin");
  await run("mkdir", ["-p", target]);
  await run("cp", [...plugins.map((name) => `/usr/lib/cni/${name}`), `${target}/`]);
}
