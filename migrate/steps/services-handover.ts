// SPDX-License-Identifier: Apache-2.0
import { readRecord, writeRecord } from "../../installer/index.ts";
import { ShuntError } from "../../lib/errors.ts";
import type { KubeClient } from "../../lib/kube.ts";
import { waitFor } from "../../lib/wait.ts";
import type { Json } from "../model/journal.ts";
import type { StepContext, StepKind } from "../step-kind.ts";
import {
  rememberWorkload,
  requireStopped,
  restoreWorkload,
  type StoppedWorkload,
  stopWorkload,
} from "./daemon-sets.ts";
import { type NodeModes, readAllModes, setModes, waitForModes } from "./node-mode.ts";

interface Before {
  kubeProxy: StoppedWorkload | null;
  modes: { [node: string]: NodeModes };
}

const before = (context: StepContext): Before => context.before as unknown as Before;
const served = ["handover", "on"];
/** kube-proxy that failed at first is started again after up to a minute and a half. */
const rulesTimeoutMs = 180_000;

/** The agent serves Services on every node; then kube-proxy stops, and what it translated goes on by its rules. */
export const servicesHandoverStep: StepKind = {
  kind: "services-handover",
  check: async () => undefined,
  async record({ kube, plan }) {
    const { object, form } = plan.basis.kubeProxy;
    const kubeProxy =
      form === "daemonset" && object !== undefined ? await rememberWorkload(kube, object) : undefined;
    return { kubeProxy: kubeProxy ?? null, modes: await readAllModes(kube) };
  },
  async apply(context) {
    const { kube, plan, tools, signal, report } = context;
    const { kubeProxy } = before(context);
    const modes = await readAllModes(kube);
    const nodes = Object.keys(modes);
    for (const [index, node] of nodes.entries()) {
      report(`Services on node ${index + 1} of ${nodes.length}`);
      if (served.includes(modes[node]!.services ?? "")) await waitForModes(kube, node, {}, signal);
      else await setModes(kube, node, { services: "handover" }, signal);
    }
    if (kubeProxy !== null) {
      await rememberInRecord(kube, kubeProxy);
      await stopWorkload(kube, kubeProxy, signal);
      return `kube-proxy is stopped; ${nodes.length} nodes serve Services by the agent`;
    }
    const { form } = plan.basis.kubeProxy;
    for (const node of nodes) {
      const facts: any = await tools.nodeTask.run("facts", node, {}, { signal });
      const running = facts?.kubeProxy?.form;
      if (running !== undefined && running !== "none")
        throw new ShuntError(`kube-proxy still runs on node ${node} (${form})`, {
          code: "WaitingForPeople",
          remedy: `Services are served by the agent already. Stop kube-proxy (${form}) on all nodes, then: shunt migrate resume`,
        });
    }
    return `kube-proxy (${form}) was stopped by its owner`;
  },
  async verify(context) {
    const { kubeProxy } = before(context);
    if (kubeProxy !== null) await requireStopped(context.kube, kubeProxy);
    return undefined;
  },
  async undo(context) {
    const { kube, signal } = context;
    const { kubeProxy, modes } = before(context);
    if (kubeProxy !== null) await restoreWorkload(kube, kubeProxy, signal);
    const now = await readAllModes(kube);
    for (const [node, { services }] of Object.entries(modes)) {
      if (now[node] === undefined || now[node].services === services) continue;
      if (!served.includes(services ?? "")) await waitForRules(context, node);
      await setModes(kube, node, { services }, signal);
    }
    const record = await readRecord(kube);
    if (record?.kubeProxy !== undefined) await writeRecord(kube, { values: record.values });
    return kubeProxy === null ? "services as before" : "kube-proxy runs again";
  },
};

/** A kube-proxy that runs has not yet written its rules, and until it has, the agent has to serve. */
async function waitForRules({ plan, tools, signal, report }: StepContext, node: string): Promise<void> {
  const { form, mode } = plan.basis.kubeProxy;
  if (form === "none") return;
  const hasRules = async (): Promise<boolean> => {
    report(`kube-proxy's rules on node ${node}`);
    const found = await tools.nodeTask.run("residue", node, { kubeProxy: { mode, form } }, { signal });
    return (found as { items: Json[] }).items.length > 0;
  };
  await waitFor(`kube-proxy to write its rules on node ${node}`, hasRules, {
    ...{ timeoutMs: rulesTimeoutMs, intervalMs: 2_000, signal },
    remedy: `The agent goes on serving Services. See that kube-proxy (${form}) runs on the node and what it logs, then: shunt migrate rollback`,
  });
}

/** So that a later `shunt uninstall` brings kube-proxy back. */
async function rememberInRecord(kube: KubeClient, kubeProxy: StoppedWorkload): Promise<void> {
  const record = await readRecord(kube);
  if (record === undefined || record.kubeProxy !== undefined) return;
  const { namespace, name, nodeSelector } = kubeProxy;
  await writeRecord(kube, { values: record.values, kubeProxy: { namespace, daemonSet: name, nodeSelector } });
}
