// SPDX-License-Identifier: Apache-2.0
import { type KubeClient, resourcePath } from "../lib/kube.ts";
import type { KubeObject } from "../lib/kube-object.ts";
import { findKubeProxy } from "./facts.ts";
import { isDisabled } from "./kube-proxy.ts";
import { agentName, daemonSet, pods, shuntNodes } from "./names.ts";
import { readRecord } from "./record.ts";

export interface NodeStatus {
  name: string;
  ready: boolean;
  /** Why it is not ready; empty when it is. */
  reason: string;
  agentPod: string;
  agentVersion: string;
  restarts: number;
  /** Layer name to what the agent reports of it. */
  layers: Record<string, unknown>;
  conditions: { type: string; status: string; reason?: string; message?: string }[];
}

export interface Status {
  installed: boolean;
  version: string;
  ready: boolean;
  kubeProxy: "replaced" | "running" | "absent";
  nodes: NodeStatus[];
}

/** Reads what is installed, and what each node's agent reports. */
export async function readStatus(kube: KubeClient): Promise<Status> {
  const [record, agent, nodes, agentPods, reports, proxy] = await Promise.all([
    readRecord(kube),
    kube.find(daemonSet(agentName)),
    kube.list(resourcePath("v1", "nodes")),
    kube.list(pods(), { labelSelector: `k8s-app=${agentName}` }),
    kube.find<any>(shuntNodes),
    findKubeProxy(kube),
  ]);
  const installed = record !== undefined && agent !== undefined;
  const statuses = nodes.items
    .filter((node) => node.metadata.labels?.["kubernetes.io/os"] !== "windows")
    .map((node) => {
      const pod = agentPods.items.find(
        (item) => item.spec?.nodeName === node.metadata.name && !item.metadata.deletionTimestamp,
      );
      const report = reports?.items?.find((item: KubeObject) => item.metadata.name === node.metadata.name);
      return nodeStatus(node.metadata.name ?? "", pod, report);
    });
  return {
    installed,
    version: record?.version ?? "",
    ready: installed && statuses.length > 0 && statuses.every((node) => node.ready),
    kubeProxy: proxy === undefined ? "absent" : isDisabled(proxy) ? "replaced" : "running",
    nodes: statuses,
  };
}

function nodeStatus(name: string, pod: KubeObject | undefined, report: KubeObject | undefined): NodeStatus {
  const container = pod?.status?.containerStatuses?.[0];
  const conditions = report?.status?.conditions ?? [];
  const ready = conditions.find((condition: any) => condition.type === "Ready");
  const reason =
    pod === undefined
      ? "no agent pod"
      : container?.ready !== true
        ? `agent not ready: ${container?.state?.waiting?.message ?? container?.state?.waiting?.reason ?? pod.status?.phase}`
        : ready === undefined
          ? "no report from the agent yet"
          : ready.status === "True"
            ? ""
            : `${ready.reason}: ${ready.message}`;
  return {
    name,
    ready: reason === "",
    reason,
    agentPod: pod?.metadata.name ?? "",
    agentVersion: report?.status?.agentVersion ?? "",
    restarts: container?.restartCount ?? 0,
    layers: report?.status?.layers ?? {},
    conditions,
  };
}

/** Status for people. */
export function formatStatus(status: Status): string {
  if (!status.installed) return "Shunt is not installed in this cluster.\n  Install it with: shunt install\n";
  const head = [
    `Shunt       ${status.version}`,
    `State       ${status.ready ? "ready" : "NOT READY"}`,
    `Nodes       ${status.nodes.filter((node) => node.ready).length} of ${status.nodes.length} ready`,
    `kube-proxy  ${status.kubeProxy}`,
  ];
  const width = Math.max(4, ...status.nodes.map((node) => node.name.length));
  const rows = status.nodes.map((node) => {
    const layers = Object.entries(node.layers)
      .map(([name, layer]) => `${name}=${(layer as any)?.mode ?? layer}`)
      .join(" ");
    return `${node.name.padEnd(width)}  ${node.ready ? "ready    " : "NOT READY"}  ${String(node.restarts).padStart(8)}  ${node.ready ? layers : node.reason}`;
  });
  const problems = status.nodes.flatMap((node) => {
    const healthy = node.conditions.find(({ type }) => type === "Healthy");
    return healthy?.status === "False" ? [`${node.name}: ${healthy.message}`] : [];
  });
  if (problems.length > 0) rows.push("", "Problems:", ...problems.map((problem) => `  ${problem}`));
  return [...head, "", `${"NODE".padEnd(width)}  STATE      RESTARTS  LAYERS`, ...rows, ""].join("\n");
}
