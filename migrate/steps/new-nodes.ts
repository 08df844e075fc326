// SPDX-License-Identifier: Apache-2.0
// What the steps of a new group share: which nodes are new, and when one may count.
import { readRecord } from "../../installer/index.ts";
import { ShuntError } from "../../lib/errors.ts";
import { type KubeClient, resourcePath } from "../../lib/kube.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import { waitFor } from "../../lib/wait.ts";
import { type NodeGroupProvider, readinessTaint } from "../model/tools.ts";
import type { StepContext } from "../step-kind.ts";
import { modeProblem, shuntNodes } from "./node-mode.ts";
import { networkedPods, recreatePods, uidsOf } from "./node-pods.ts";

const nodes = (name?: string): string => resourcePath("v1", "nodes", undefined, name);

/** The provider that the plan names. */
export async function providerOf({ tools, plan }: StepContext): Promise<NodeGroupProvider> {
  const { provider, providerOptions = [] } = plan.options;
  const found = await tools.provider?.(provider, providerOptions);
  if (found !== undefined) return found;
  throw new ShuntError(`There is no provider "${provider}" for node groups`, {
    code: "Blocked",
    remedy: "Use --provider manual, and add and remove nodes yourself.",
  });
}

/** The workers that the plan replaces. */
export const oldWorkers = ({ plan }: StepContext): string[] =>
  plan.basis.nodes.filter(({ roles }) => !roles.includes("control-plane")).map(({ name }) => name);

/** Nodes that were not there when the plan was made. */
export async function newNodes({ kube, plan }: StepContext): Promise<KubeObject[]> {
  const old = new Set(plan.basis.nodes.map(({ name }) => name));
  return (await kube.list(nodes())).items.filter(({ metadata }) => !old.has(metadata.name!));
}

/** Why a new node does not count yet: it is Ready, its agent is active, and pods may come. Undefined: it counts. */
export async function unfitness(kube: KubeClient, node: KubeObject): Promise<string | undefined> {
  const ready = node.status?.conditions?.find(({ type }: { type: string }) => type === "Ready");
  if (ready?.status !== "True") return ready?.message || "it is not Ready";
  const agent = await kube.find(shuntNodes(node.metadata.name));
  if (agent === undefined) return "its agent has not started yet";
  const problem = modeProblem(agent, { podNetwork: "active", services: "handover" });
  if (problem !== undefined) return `its agent: ${problem}`;
  const taints: { key: string }[] = node.spec?.taints ?? [];
  return taints.some(({ key }) => key === readinessTaint.key)
    ? "its agent has not let pods in yet"
    : undefined;
}

/** Waits until a new node counts, and recreates pods that came before its agent. Returns how many those were. */
export async function settleNode(context: StepContext, node: string): Promise<number> {
  const { kube, tools, signal, report } = context;
  await waitFor(
    `new node ${node} to take pods`,
    async () => {
      const problem = await unfitness(kube, await kube.get(nodes(node)));
      if (problem !== undefined) throw new Error(problem);
      return true;
    },
    {
      timeoutMs: 600_000,
      intervalMs: 1_000,
      signal,
      remedy: `See shunt status, and kubectl describe node ${node}; then: shunt migrate resume`,
    },
  );
  const healthPort = (await readRecord(kube))?.values.healthPort ?? 9879;
  // The list of pods comes first: one that starts in between is then no stranger.
  const pods = (await networkedPods(kube, node)).filter(({ status }) => status?.podIP !== undefined);
  const { uids: own } = (await tools.nodeTask.run("agent-endpoints", node, { healthPort }, { signal })) as {
    uids: string[];
  };
  const known = new Set(own);
  const uids = new Set(uidsOf(pods.filter((pod) => !known.has(cniUid(pod)))));
  if (uids.size === 0) return 0;
  return await recreatePods({ kube, node, uids, tasks: tools.nodeTask, signal, report });
}

/** The UID by which the runtime knows a pod: a static one by the hash of its file. */
const cniUid = ({ metadata }: KubeObject): string =>
  metadata.annotations?.["kubernetes.io/config.mirror"] ?? metadata.uid!;
