// SPDX-License-Identifier: Apache-2.0
import { ShuntError } from "../../lib/errors.ts";
import type { StepKind } from "../step-kind.ts";
import { drain } from "./drain.ts";
import { networkedPods, recreatePods, uidsOf } from "./node-pods.ts";

/** Replaces the pods that the drain left on a switched node, so that none keeps an interface of the old network. */
export const recreateStep: StepKind = {
  kind: "recreate",
  check: async () => undefined,
  // The node is switched: every pod that is not in this list has an interface of the agent's.
  record: async ({ kube, step }) => ({ uids: uidsOf(await networkedPods(kube, step.node!)) }),
  async apply({ kube, step, before, tools, signal, report }) {
    const uids = new Set((before as { uids: string[] }).uids);
    const count = await recreatePods({ kube, node: step.node!, uids, tasks: tools.nodeTask, signal, report });
    return `${count} pods recreated`;
  },
  async verify({ kube, step, before }) {
    const old = new Set((before as { uids: string[] }).uids);
    const left = (await networkedPods(kube, step.node!)).filter(
      ({ metadata }) =>
        old.has(metadata.uid!) && metadata.annotations?.["kubernetes.io/config.mirror"] === undefined,
    );
    if (left.length === 0) return undefined;
    const names = left.map(({ metadata }) => `${metadata.namespace}/${metadata.name}`).join(", ");
    throw new ShuntError(`pods on the old network are left: ${names}`, {
      remedy: "Delete them, so that their controllers make them anew, then: shunt migrate resume",
    });
  },
  // Whatever came to the node since has to leave it before it is switched back.
  undo: drain,
};
