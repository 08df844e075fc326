// SPDX-License-Identifier: Apache-2.0
import type { StepKind } from "../step-kind.ts";
import { type NodeModes, readModes, setModes, waitForModes } from "./node-mode.ts";
import { networkedPods, recreatePods, uidsOf } from "./node-pods.ts";

// Connections that kube-proxy began stay with it until it goes.
const active = { podNetwork: "active", services: "handover" };

/** Turns the key: the node's next pods get interfaces of the agent, and every node knows that it has moved. */
export const activateStep: StepKind = {
  kind: "activate",
  check: async () => undefined,
  record: async ({ kube, step }) => await readModes(kube, step.node!),
  async apply({ kube, step, signal }) {
    await setModes(kube, step.node!, active, signal);
    return "the agent runs its pod network";
  },
  async verify({ kube, step, signal }) {
    await waitForModes(kube, step.node!, active, signal);
    return undefined;
  },
  async undo({ kube, step, before, notes, remember, tools, signal, report }) {
    const node = step.node!;
    const modes = before as NodeModes;
    await kube.patch(`/apis/shunt.dev/v1alpha1/nodes/${node}`, "merge", { spec: modes });
    await waitForModes(kube, node, { podNetwork: modes.podNetwork ?? "standby" }, signal);
    // The old network and kube-proxy are back, and translate by their own rules.
    await tools.nodeTask.run("release-connections", node, { force: true }, { signal });
    // What is here now may have an interface of the agent's; what comes later has not.
    if (notes.backUids === undefined) await remember({ backUids: uidsOf(await networkedPods(kube, node)) });
    const uids = new Set((notes.backUids ?? []) as string[]);
    const count = await recreatePods({ kube, node, uids, tasks: tools.nodeTask, signal, report });
    return `back on the old network; ${count} pods recreated`;
  },
};
