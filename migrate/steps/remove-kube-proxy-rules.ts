// SPDX-License-Identifier: Apache-2.0
import { ShuntError } from "../../lib/errors.ts";
import { type KubeClient, resourcePath } from "../../lib/kube.ts";
import { sleep } from "../../lib/wait.ts";
import type { Json } from "../model/journal.ts";
import { probeNamespace } from "../probes/names.ts";
import type { StepContext, StepKind } from "../step-kind.ts";
import { type NodeModes, readModes, setModes } from "./node-mode.ts";

const pollMs = 5_000;

/** Waits until no connection needs kube-proxy's rules any more, at most until the deadline. How many are left. */
async function waitForConnections({
  kube,
  plan,
  step,
  endedAt,
  tools,
  signal,
  report,
}: StepContext): Promise<number> {
  // One deadline for all nodes, however many there are.
  const handover = endedAt("services-handover");
  const since = handover === undefined ? Date.now() : Date.parse(handover);
  const deadline = since + 1000 * plan.options.connectionDeadlineSeconds;
  const { nodePortRange } = plan.basis.kubeProxy;
  const args: Json = {
    serviceCIDRs: plan.basis.serviceCIDRs,
    nodePortRange: nodePortRange ?? "30000-32767",
    except: await unconcerned(kube),
  };
  for (;;) {
    const { connections } = (await tools.nodeTask.run("translated-connections", step.node!, args, {
      signal,
    })) as {
      connections: number;
    };
    if (connections === 0 || Date.now() >= deadline) return connections;
    report(`${connections} connections still go through kube-proxy's rules`);
    await sleep(Math.min(pollMs, Math.max(0, deadline - Date.now())), signal);
  }
}

/**
 * Services whose connections outlive kube-proxy's rules and the old network, because their backends are nodes: the API
 * server's; and those of the probes, which stay open to show that they can.
 */
async function unconcerned(kube: KubeClient): Promise<{ addresses: string[]; nodePorts: number[] }> {
  const { items } = await kube.list(resourcePath("v1", "services", probeNamespace));
  const apiServer = await kube.find(resourcePath("v1", "services", "default", "kubernetes"));
  return {
    addresses: [...items, ...(apiServer === undefined ? [] : [apiServer])].flatMap(
      ({ spec }) => spec.clusterIPs ?? [],
    ),
    nodePorts: items.flatMap(({ spec }) => spec.ports?.flatMap(({ nodePort }: any) => nodePort ?? []) ?? []),
  };
}

/** Takes kube-proxy's rules off a node, once nothing goes through them. */
export const removeKubeProxyRulesStep: StepKind = {
  kind: "remove-kube-proxy-rules",
  check: async () => undefined,
  record: async ({ kube, step }) => await readModes(kube, step.node!),
  async apply(context) {
    const { kube, plan, step, tools, signal } = context;
    const left = await waitForConnections(context);
    const { mode } = plan.basis.kubeProxy;
    const { removed } = (await tools.nodeTask.run(
      "remove-kube-proxy-rules",
      step.node!,
      { mode },
      { signal },
    )) as {
      removed: string[];
    };
    await setModes(kube, step.node!, { services: "on" }, signal);
    const open =
      left === 0 ? "no connection needed them" : `${left} connections were still open at the deadline`;
    return `${removed.length} chains, sets and devices removed; ${open}`;
  },
  async verify({ plan, step, tools, signal }) {
    const { mode, form } = plan.basis.kubeProxy;
    const args: Json = { kubeProxy: { mode, form } };
    const { items } = (await tools.nodeTask.run("residue", step.node!, args, { signal })) as {
      items: Json[];
    };
    if (items.length === 0) return undefined;
    throw new ShuntError(
      `kube-proxy's rules are left on node ${step.node}: ${JSON.stringify(items.slice(0, 5))}`,
      { remedy: "See that no kube-proxy runs on the node any more, then: shunt migrate resume" },
    );
  },
  // The rules themselves come back with kube-proxy.
  async undo({ kube, step, before, signal }) {
    await setModes(kube, step.node!, { services: (before as NodeModes).services }, signal);
    return "services as before; kube-proxy writes its rules when it comes back";
  },
};
