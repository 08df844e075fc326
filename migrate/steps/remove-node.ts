// SPDX-License-Identifier: Apache-2.0
import { ShuntError } from "../../lib/errors.ts";
import { resourcePath } from "../../lib/kube.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import { sleep } from "../../lib/wait.ts";
import { readCordonRecord } from "../drain/index.ts";
import { taskLabel } from "../node-task/index.ts";
import type { StepContext, StepKind } from "../step-kind.ts";
import { waitUntilGone } from "./add-group.ts";
import { providerOf } from "./new-nodes.ts";

const nodePath = (node: string): string => resourcePath("v1", "nodes", undefined, node);

/** So long load balancers may send to a node after its label told them to leave it out. */
const loadBalancerMs = 30_000;

/** A drained node goes. It does not come back: its undo is the old group, added again by its owner. */
export const removeNodeStep: StepKind = {
  kind: "remove-node",
  check: async () => undefined,
  async apply(context) {
    const { kube, step, migration, signal, report } = context;
    const node = step.node!;
    const object = await kube.find(nodePath(node));
    if (object !== undefined) {
      await requireEmpty(context, object);
      await waitForLoadBalancers(object, signal);
      await context.tools.probes?.leaveNode(node, signal);
    }
    report(await (await providerOf(context)).removeNode({ group: migration, node, signal }));
    await waitUntilGone(context, node);
    return "gone";
  },
  verify: async () => undefined,
  async undo({ kube, step }) {
    if ((await kube.find(nodePath(step.node!))) !== undefined) return "it is still there";
    throw new ShuntError(`node ${step.node} was removed and cannot be brought back`, {
      remedy:
        "Join a node of that name with the old network again, or finish the migration: shunt migrate resume",
    });
  },
};

async function waitForLoadBalancers(node: KubeObject, signal: AbortSignal): Promise<void> {
  const record = readCordonRecord(node);
  if (record?.labelled !== true) return;
  const leftMs = Date.parse(record.at) + loadBalancerMs - Date.now();
  // Another clock than this one must not make it longer.
  if (leftMs > 0) await sleep(Math.min(leftMs, loadBalancerMs), signal);
}

/** Pods that a removed node takes with it, other than those that belong to the node. */
async function requireEmpty({ kube, step }: StepContext, node: KubeObject): Promise<void> {
  const refuse = (problem: string): never => {
    throw new ShuntError(`Node ${step.node} is not removed: ${problem}`, {
      code: "NodeInUse",
      remedy: "Delete or move these pods, or find out who brings them there; then: shunt migrate resume",
    });
  };
  if (node.spec?.unschedulable !== true) refuse("it is not cordoned any more");
  const { items } = await kube.list(resourcePath("v1", "pods"), {
    fieldSelector: `spec.nodeName=${step.node}`,
  });
  const left = items.filter(isInUse).map(({ metadata }) => `${metadata.namespace}/${metadata.name}`);
  if (left.length === 0) return;
  const more = left.length > 5 ? ` and ${left.length - 5} more` : "";
  refuse(`pods still run there: ${left.slice(0, 5).join(", ")}${more}`);
}

function isInUse({ metadata, status }: KubeObject): boolean {
  if (["Succeeded", "Failed"].includes(status?.phase)) return false;
  if (metadata.annotations?.["kubernetes.io/config.mirror"] !== undefined) return false;
  if (metadata.labels?.[taskLabel] !== undefined) return false;
  const owner = metadata.ownerReferences?.find(({ controller }) => controller === true);
  return owner?.kind !== "DaemonSet";
}
