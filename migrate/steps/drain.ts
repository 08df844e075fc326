// SPDX-License-Identifier: Apache-2.0
import { drainNode } from "../drain/index.ts";
import type { StepContext, StepKind } from "../step-kind.ts";

/** Moves a cordoned node's pods away, within their budgets; pods of DaemonSets and static pods stay. */
export async function drain({ kube, plan, step, signal, report }: StepContext): Promise<string> {
  const { drainForce, drainDeleteEmptyDirData, drainTimeoutSeconds } = plan.options;
  const result = await drainNode(kube, step.node!, {
    force: drainForce,
    ignoreDaemonsets: true,
    deleteEmptydirData: drainDeleteEmptyDirData,
    timeoutSeconds: drainTimeoutSeconds,
    signal,
    onProgress: ({ pod, message, left }) => report(`${left} left; ${pod}: ${message}`),
  });
  const returned = result.returned.length === 0 ? "" : `; came back: ${result.returned.join(", ")}`;
  return `${result.evicted.length} pods moved${returned}`;
}

export const drainStep: StepKind = {
  kind: "drain",
  check: async () => undefined,
  apply: drain,
  // drainNode itself returns only when they are gone.
  verify: async () => undefined,
  undo: async () => "pods stay where they went",
};
