// SPDX-License-Identifier: Apache-2.0
import { resourcePath } from "../../lib/kube.ts";
import { uncordon } from "../drain/index.ts";
import type { StepKind } from "../step-kind.ts";
import { cordonStep } from "./cordon.ts";
import { drain } from "./drain.ts";
import { settleNode } from "./new-nodes.ts";

/** A new node takes part: its agent gives pods their interfaces, and none is left that got another one. */
export const joinNodeStep: StepKind = {
  kind: "join-node",
  check: async () => undefined,
  async apply(context) {
    const { kube, step, migration, signal } = context;
    const count = await settleNode(context, step.node!);
    // Only an undo of this step that was interrupted has cordoned it.
    await uncordon(kube, step.node!, { by: `migration/${migration}`, signal });
    return count === 0 ? "its agent serves it" : `its agent serves it; ${count} pods recreated`;
  },
  verify: async () => undefined,
  /** Pods go back to the old nodes before this one is taken away. */
  async undo(context) {
    const { kube, step } = context;
    if ((await kube.find(resourcePath("v1", "nodes", undefined, step.node))) === undefined)
      return "it is gone";
    await cordonStep.apply(context);
    return await drain(context);
  },
};
