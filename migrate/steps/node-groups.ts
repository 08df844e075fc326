// SPDX-License-Identifier: Apache-2.0
import { ShuntError } from "../../lib/errors.ts";
import { resourcePath } from "../../lib/kube.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import { waitFor } from "../../lib/wait.ts";
import type { NodeGroupProvider } from "../model/tools.ts";
import type { StepContext, StepKind } from "../step-kind.ts";
import { setModes } from "./node-mode.ts";

function providerOf({ tools, plan }: StepContext): NodeGroupProvider {
  if (tools.provider !== undefined) return tools.provider;
  throw new ShuntError(`There is no provider "${plan.options.provider}" for node groups`, {
    code: "Blocked",
    remedy: "Use --provider manual, and add and remove nodes yourself.",
  });
}

const oldWorkers = ({ plan }: StepContext): string[] =>
  plan.basis.nodes.filter(({ roles }) => !roles.includes("control-plane")).map(({ name }) => name);

async function newNodes({ kube, plan }: StepContext): Promise<KubeObject[]> {
  const old = new Set(plan.basis.nodes.map(({ name }) => name));
  return (await kube.list(resourcePath("v1", "nodes"))).items.filter(
    ({ metadata }) => !old.has(metadata.name!),
  );
}

const isReady = ({ status }: KubeObject): boolean =>
  status?.conditions?.some(({ type, status: is }: any) => type === "Ready" && is === "True") === true;

/** A group of new nodes joins, each with the agent active from its first pod on. */
export const addGroupStep: StepKind = {
  kind: "add-group",
  check: async () => undefined,
  async apply(context) {
    const { kube, migration, signal, report } = context;
    const provider = providerOf(context);
    const why = await provider.check();
    if (why !== undefined) throw new ShuntError(`Provider ${provider.name} cannot be used: ${why}`);
    const wanted = oldWorkers(context);
    const request = { group: migration, count: wanted.length, like: wanted[0] ?? "", signal };
    report(await provider.addNodes(request));
    await waitFor(
      `${wanted.length} new nodes to be Ready`,
      async () => {
        const nodes = await newNodes(context);
        for (const { metadata } of nodes)
          await kube
            .patch(`/apis/shunt.dev/v1alpha1/nodes/${metadata.name}`, "merge", {
              spec: { podNetwork: "active", services: "handover" },
            })
            .catch(() => undefined);
        report(`${nodes.filter(isReady).length} of ${wanted.length} new nodes are Ready`);
        return nodes.filter(isReady).length >= wanted.length;
      },
      {
        timeoutMs: 3_600_000,
        intervalMs: 2_000,
        signal,
        remedy: "Join the missing nodes, then: shunt migrate resume",
      },
    );
    return `${wanted.length} new nodes`;
  },
  async verify(context) {
    const nodes = await newNodes(context);
    for (const { metadata } of nodes)
      await setModes(
        context.kube,
        metadata.name!,
        { podNetwork: "active", services: "handover" },
        context.signal,
      );
    return `${nodes.length} new nodes run the agent`;
  },
  async undo(context) {
    return await providerOf(context).removeGroup({ group: context.migration, signal: context.signal });
  },
};

/** A drained node goes. It does not come back: its undo is the old group, added again by its owner. */
export const removeNodeStep: StepKind = {
  kind: "remove-node",
  check: async () => undefined,
  async apply(context) {
    const { kube, step, signal, report } = context;
    report(await providerOf(context).removeNode({ node: step.node!, signal }));
    const path = resourcePath("v1", "nodes", undefined, step.node);
    await waitFor(`node ${step.node} to be gone`, async () => (await kube.find(path)) === undefined, {
      timeoutMs: 3_600_000,
      intervalMs: 2_000,
      signal,
      remedy: `Remove node ${step.node} from the cluster, then: shunt migrate resume`,
    });
    return "gone";
  },
  verify: async () => undefined,
  async undo({ kube, step }) {
    const path = resourcePath("v1", "nodes", undefined, step.node);
    if ((await kube.find(path)) !== undefined) return "it is still there";
    throw new ShuntError(`node ${step.node} was removed and cannot be brought back`, {
      remedy:
        "Join a node of that name with the old network again, or finish the migration: shunt migrate resume",
    });
  },
};
