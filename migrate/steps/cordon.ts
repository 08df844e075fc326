// SPDX-License-Identifier: Apache-2.0
import { ShuntError } from "../../lib/errors.ts";
import { resourcePath } from "../../lib/kube.ts";
import { cordon, uncordon } from "../drain/index.ts";
import type { StepContext, StepKind } from "../step-kind.ts";

/** Under whose name the migration cordons. */
const by = ({ migration }: StepContext): string => `migration/${migration}`;

export const cordonStep: StepKind = {
  kind: "cordon",
  check: async () => undefined,
  async apply(context) {
    const { kube, plan, step, signal } = context;
    const phase = plan.phases.find(({ name }) => name === step.phase);
    const goes = phase?.steps.some(({ kind }) => kind === "remove-node") === true;
    const record = await cordon(kube, step.node!, {
      ...{ by: by(context), signal },
      // remove-node waits until load balancers have followed.
      ...(goes ? { excludeFromLoadBalancers: { graceMs: 0 } } : {}),
    });
    return record.wasCordoned ? "it was cordoned before, and stays so" : "cordoned";
  },
  async verify({ kube, step }) {
    const node = await kube.get(resourcePath("v1", "nodes", undefined, step.node));
    if (node.spec?.unschedulable !== true) throw new ShuntError(`node ${step.node} is not cordoned`);
    return undefined;
  },
  async undo(context) {
    const options = { by: by(context), signal: context.signal };
    const { uncordoned, reason } = await uncordon(context.kube, context.step.node!, options);
    return uncordoned ? "uncordoned" : `left as it is: ${reason}`;
  },
};

export const uncordonStep: StepKind = {
  kind: "uncordon",
  check: async () => undefined,
  apply: async (context) => await cordonStep.undo(context),
  async verify({ kube, step, migration }) {
    const node = await kube.get(resourcePath("v1", "nodes", undefined, step.node));
    const record = node.metadata.annotations?.["shunt.dev/cordon"] ?? "";
    if (record.includes(`"migration/${migration}"`))
      throw new ShuntError(`node ${step.node} is still cordoned by this migration`);
    return undefined;
  },
  undo: async (context) => await cordonStep.apply(context),
};
