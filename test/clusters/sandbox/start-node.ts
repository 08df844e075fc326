// SPDX-License-Identifier: Apache-2.0
import path from "node:path";
import { packKubeProxyImage, packPauseImage, packShuntImage } from "./images/shunt-image.ts";
import { copyCniPlugins, importImages } from "./import-images.ts";
import { hasRealKubeProxy } from "./kube-proxy-manifests.ts";
import { connectNode } from "./network.ts";
import { addService, bootNode, prepareNode } from "./node/launch.ts";
import { nodeFiles } from "./node-files.ts";
import { nodeServices } from "./parts.ts";
import type { ClusterPlan, NodePlan } from "./plan.ts";
import { writeFiles } from "./secrets.ts";

/** What a node starts with. */
export interface NodeStart {
  /** Files below /etc/kubernetes. */
  kubernetes: Record<string, string>;
  /** docker-archives that its containerd imports. */
  archives: readonly string[];
  switchPid: number;
  signal: AbortSignal;
}

/** Packs the images that every node has. Returns the files. */
export async function packNodeImages(
  plan: ClusterPlan,
  env: Record<string, string | undefined>,
): Promise<string[]> {
  const archives = [await packPauseImage(), await packShuntImage(env)];
  if (hasRealKubeProxy(plan))
    archives.push(await packKubeProxyImage(path.join(plan.assets!.dir, "kube-proxy"), env));
  return archives;
}

/** Boots a node, plugs it into the switch, starts its services and imports its images. */
export async function startNode(plan: ClusterPlan, node: NodePlan, start: NodeStart): Promise<void> {
  const { kubernetes, archives, switchPid, signal } = start;
  const dir = await prepareNode(plan.name, node.name);
  await copyCniPlugins(dir);
  await writeFiles(path.join(dir, "etc"), nodeFiles(plan, node, kubernetes));
  const pid = await bootNode(plan.name, node.name, plan.assets?.dir, signal);
  await connectNode(plan, node, { node: pid, switch: switchPid }, signal);
  for (const [name, script] of Object.entries(nodeServices(plan, node)))
    await addService(plan.name, node.name, name, script);
  await importImages(plan.name, node.name, archives, signal);
}
