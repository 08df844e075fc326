// SPDX-License-Identifier: Apache-2.0
import { ShuntError } from "../../lib/errors.ts";
import type { ObjectRef } from "../model/inventory.ts";
import type { Json } from "../model/journal.ts";
import type { ResidueItem } from "../model/report.ts";
import type { StepContext, StepKind } from "../step-kind.ts";
import {
  rememberWorkload,
  requireStopped,
  restoreWorkload,
  type StoppedWorkload,
  stopWorkload,
} from "./daemon-sets.ts";
import { waitForPeers } from "./node-mode.ts";

const workloads = ({ before }: StepContext): StoppedWorkload[] => before as unknown as StoppedWorkload[];
const network = ({ plan }: StepContext): Json => plan.basis.network as unknown as Json;

/** Stops the old network's pods; its objects stay, so that it can come back. */
export const disableOldNetworkStep: StepKind = {
  kind: "disable-old-network",
  check: async ({ plan: { basis } }) =>
    basis.network.daemonSet === undefined ? `${basis.network.kind} runs no pods of its own` : undefined,
  async record({ kube, plan }) {
    const { daemonSet, others } = plan.basis.network;
    const found: StoppedWorkload[] = [];
    for (const ref of [daemonSet, ...others].filter((entry): entry is ObjectRef => entry !== undefined)) {
      const remembered = await rememberWorkload(kube, ref);
      if (remembered !== undefined) found.push(remembered);
    }
    return found;
  },
  async apply(context) {
    for (const workload of workloads(context)) await stopWorkload(context.kube, workload, context.signal);
    return `stopped ${workloads(context)
      .map(({ namespace, name }) => `${namespace}/${name}`)
      .join(", ")}`;
  },
  async verify(context) {
    for (const workload of workloads(context)) await requireStopped(context.kube, workload);
    return undefined;
  },
  async undo(context) {
    for (const workload of [...workloads(context)].reverse())
      await restoreWorkload(context.kube, workload, context.signal);
    return "the old network runs again";
  },
};

/** Takes the old network's devices, routes, rules and files off a node, after a copy was kept of all of them. */
export const removeOldNetworkStep: StepKind = {
  kind: "remove-old-network",
  check: async () => undefined,
  async record(context) {
    const { step, tools, signal } = context;
    return await tools.nodeTask.run("save-network", step.node!, { network: network(context) }, { signal });
  },
  async apply(context) {
    const { step, tools, signal } = context;
    const args = { network: network(context) };
    // From here on all nodes reach each other by the agent's network alone.
    await waitForPeers(context.kube, signal);
    const result = (await tools.nodeTask.run("remove-network", step.node!, args, { signal })) as {
      removed: string[];
    };
    return `${result.removed.length} things removed`;
  },
  verify: async () => undefined,
  async undo(context) {
    const { step, tools, signal } = context;
    const { saved } = context.before as { saved: Json };
    const result = (await tools.nodeTask.run("restore-network", step.node!, { saved }, { signal })) as {
      restored: string[];
    };
    return `${result.restored.length} things put back`;
  },
};

/** Looks for anything that is left of the old network and of kube-proxy on a node. */
export const verifyResidueStep: StepKind = {
  kind: "verify-residue",
  check: async () => undefined,
  async apply(context) {
    const { plan, step, tools, signal, remember } = context;
    const kubeProxy = plan.basis.kubeProxy as unknown as Json;
    const args = {
      network: network(context),
      ...(plan.basis.kubeProxy.form === "none" ? {} : { kubeProxy }),
    };
    const { items } = (await tools.nodeTask.run("residue", step.node!, args, { signal })) as {
      items: Json[];
    };
    await remember({ residue: items });
    return `${items.length} things left`;
  },
  async verify({ step, notes }) {
    const items = (notes.residue ?? []) as unknown as ResidueItem[];
    if (items.length === 0) return undefined;
    const names = items.slice(0, 10).map(({ kind, name }) => `${kind} ${name}`);
    throw new ShuntError(
      `${items.length} things of the old network are left on node ${step.node}: ${names.join(", ")}`,
      {
        remedy: `Remove them by hand, or see who makes them anew, then: shunt migrate resume`,
      },
    );
  },
  undo: async () => undefined,
};
