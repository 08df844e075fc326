// SPDX-License-Identifier: Apache-2.0
import type { StepKind } from "../step-kind.ts";
import { waitForModes } from "./node-mode.ts";

/** Proves that a switched node works, together with one old and one switched node. */
export const verifyNodeStep: StepKind = {
  kind: "verify-node",
  check: async () => undefined,
  async apply({ kube, step, signal }) {
    await waitForModes(kube, step.node!, { podNetwork: "active" }, signal);
    return undefined;
  },
  async verify({ step, nodes, tools, signal, report }) {
    if (tools.verifyConnectivity === undefined)
      return "its agent is Ready; no connectivity test was asked for";
    const { old, switched } = nodes();
    const others = { old: old[0], switched: switched.find((name) => name !== step.node) };
    return await tools.verifyConnectivity({ node: step.node!, ...others }, { signal, report });
  },
  undo: async () => undefined,
};
