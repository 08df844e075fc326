// SPDX-License-Identifier: Apache-2.0
import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import path from "node:path";
import { ShuntError, UsageError } from "../../../lib/errors.ts";
import { type KubeClient, resourcePath } from "../../../lib/kube.ts";
import { connectKube } from "../../../lib/kube-connect.ts";
import { run } from "../../../lib/run.ts";
import { waitFor } from "../../../lib/wait.ts";
import { labelNodes } from "./bootstrap.ts";
import { cgroupDirs, killCgroups, readHierarchies, removeCgroups } from "./cgroups.ts";
import { withClusterLock } from "./cluster-lock.ts";
import { unmountBelow } from "./delete.ts";
import { checkMachine, requireLinuxRoot } from "./machine.ts";
import { parseTaint } from "./parts.ts";
import { type ClusterPlan, checkName, maxWorkers, type NodePlan, planNode } from "./plan.ts";
import { joinFiles } from "./secrets.ts";
import { packNodeImages, startNode } from "./start-node.ts";
import { clusterDir, initPid, nodeDir, readPlan, stateRoot, writePlan } from "./state.ts";

type Env = Record<string, string | undefined>;

/** What nodes are asked for. */
export interface AddNodesOptions {
  name: string;
  count: number;
  /** Named: there are `count` nodes of this group afterwards. Else: `count` more nodes. */
  group?: string;
  /** `key=value:Effect`, from the node's first moment. */
  taints: string[];
  env: Env;
  signal: AbortSignal;
  report: (progress: string) => void;
}

/** Adds workers to a cluster. Returns their names when they are registered; Ready they become with a pod network. */
export async function addSandboxNodes(options: AddNodesOptions): Promise<string[]> {
  const { name, count, group, taints, signal } = options;
  checkName(name);
  for (const taint of taints) parseTaint(taint);
  if (group !== undefined && !/^[\w.-]{1,63}$/.test(group))
    throw new UsageError(`"${group}" is no name for a group`, "Use letters, digits, points and hyphens.");
  requireLinuxRoot();
  return await withClusterLock(name, signal, async () => {
    const plan = requireCluster(name);
    checkMachine(stateRoot, options.env);
    for (const node of plan.nodes.filter(({ joining }) => joining)) await takeAway(plan, node);
    const there = group === undefined ? [] : plan.nodes.filter((node) => node.group === group);
    const missing = Math.max(0, count - there.length);
    if (plan.nodes.length - 1 + missing > 2 * maxWorkers)
      throw new UsageError(
        `${missing} more nodes are too many for one machine`,
        `Use at most ${2 * maxWorkers} workers.`,
      );
    const fresh = Array.from(
      { length: missing },
      (_, offset): NodePlan => ({
        ...planNode(name, plan.ipFamily, plan.lastIndex + 1 + offset),
        ...(group === undefined ? {} : { group }),
        ...(taints.length === 0 ? {} : { taints }),
        joining: true,
      }),
    );
    plan.lastIndex += missing;
    plan.nodes.push(...fresh);
    await writePlan(plan);
    if (fresh.length > 0) await bootNodes(plan, fresh, options);
    return [...there, ...fresh].map((node) => node.name);
  });
}

async function bootNodes(plan: ClusterPlan, fresh: NodePlan[], options: AddNodesOptions): Promise<void> {
  const { signal, report, env } = options;
  const switchPid = initPid(plan.name, "switch");
  if (switchPid === undefined) throw notRunning(plan.name);
  report("packing images from this machine's files");
  const archives = await packNodeImages(plan, env);
  report(`booting ${fresh.map(({ name }) => name).join(", ")}`);
  await Promise.all(
    fresh.map(async (node) => {
      const kubernetes = await joinFiles(plan, node);
      await startNode(plan, node, { kubernetes, archives, switchPid, signal });
    }),
  );
  report("waiting for the nodes to register");
  await withKube(plan, async (kube) => {
    for (const { name } of fresh)
      await waitFor(
        `node ${name} to register`,
        () => kube.find(resourcePath("v1", "nodes", undefined, name)),
        {
          timeoutMs: 120_000,
          signal,
          remedy: `Look into ${nodeDir(plan.name, name)}/var/log.`,
        },
      );
    await labelNodes(kube, { nodes: fresh });
  });
  for (const node of fresh) delete node.joining;
  await writePlan(plan);
}

/** Takes a worker away with all of it, its Node object too. Returns false when there is none of this name. */
export async function removeSandboxNode(name: string, node: string, signal: AbortSignal): Promise<boolean> {
  checkName(name);
  requireLinuxRoot();
  return await withClusterLock(name, signal, async () => {
    const plan = requireCluster(name);
    const found = plan.nodes.find((entry) => entry.name === node);
    if (found === undefined) return false;
    if (found.role === "control-plane")
      throw new UsageError(
        `${node} is the control plane of cluster ${name}`,
        `Delete the whole cluster instead: shunt cluster delete --name ${name}`,
      );
    await takeAway(plan, found);
    return true;
  });
}

/** As when a machine is switched off for good; safe to run again from any half-way state. */
async function takeAway(plan: ClusterPlan, node: NodePlan): Promise<void> {
  const group = `${plan.name}/${node.name}`;
  const hierarchies = readHierarchies();
  if (cgroupDirs(hierarchies, group).some(existsSync)) {
    await killCgroups(hierarchies, group);
    await removeCgroups(hierarchies, group);
  }
  const dir = nodeDir(plan.name, node.name);
  await unmountBelow(dir);
  await run("rm", ["-rf", "--one-file-system", "--", dir], { timeoutMs: 120_000 });
  await rm(path.join(clusterDir(plan.name), "logs", `${node.name}-boot.log`), { force: true });
  await withKube(plan, (kube) => kube.deleteIfExists(resourcePath("v1", "nodes", undefined, node.name)));
  plan.nodes = plan.nodes.filter((entry) => entry !== node);
  await writePlan(plan);
}

async function withKube<T>(plan: ClusterPlan, work: (kube: KubeClient) => Promise<T>): Promise<T> {
  const kube = await connectKube({ kubeconfig: path.join(clusterDir(plan.name), "kubeconfig") });
  try {
    return await work(kube);
  } finally {
    kube.close();
  }
}

function requireCluster(name: string): ClusterPlan {
  const plan = readPlan(name);
  if (plan === undefined)
    throw new ShuntError(`There is no sandbox cluster named "${name}"`, {
      code: "NotFound",
      remedy: "See them with: shunt cluster list",
    });
  if (plan.apiPort === 0 || plan.lastIndex === undefined) throw notRunning(name);
  return plan;
}

const notRunning = (name: string): ShuntError =>
  new ShuntError(`Cluster ${name} is not whole: its creation was cut off, or it has ended`, {
    code: "NotRunning",
    remedy: `Remove it with: shunt cluster delete --name ${name}`,
  });
