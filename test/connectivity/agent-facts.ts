// SPDX-License-Identifier: Apache-2.0
import { type KubeClient, resourcePath } from "../../lib/kube.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import type { Action } from "./action.ts";
import type { PodEndpoint } from "./endpoint.ts";
import type { Probes } from "./probes.ts";
import type { AgentFacts } from "./world.ts";

const namespace = "kube-system";

/** Finds the agent's pods and ports; a cluster without the agent has none. */
export async function findAgent(kube: KubeClient): Promise<AgentFacts> {
  const config = await kube.find(resourcePath("v1", "configmaps", namespace, "shunt-config"));
  const text: string = config?.data?.["config.yaml"] ?? "";
  const port = (name: string, fallback: number): number =>
    Number(new RegExp(`^\\s*"?${name}"?:\\s*(\\d+)`, "m").exec(text)?.[1] ?? fallback);
  const [pods, nodes] = await Promise.all([
    agentPods(kube),
    kube.find<any>("/apis/shunt.dev/v1alpha1/nodes"),
  ]);
  const nodesWith = (layer: string, mode: string): Set<string> =>
    new Set(
      (nodes?.items ?? [])
        .filter((node: KubeObject) => node.status?.layers?.[layer]?.mode === mode)
        .map((node: KubeObject) => node.metadata.name),
    );
  return {
    namespace,
    pods: new Map(pods.map((pod) => [pod.spec.nodeName, pod.metadata.name!])),
    activeNodes: nodesWith("podNetwork", "active"),
    enforcingNodes: nodesWith("policy", "enforce"),
    healthPort: port("healthPort", 9879),
    metricsPort: port("metricsPort", 9962),
  };
}

export async function agentPods(kube: KubeClient): Promise<KubeObject[]> {
  const query = { labelSelector: "k8s-app=shunt-agent" };
  const list = await kube.list(resourcePath("v1", "pods", namespace), query);
  return list.items.filter((pod) => pod.metadata.deletionTimestamp === undefined);
}

/** Restarts of each agent pod's containers. */
export function restartsOf(pods: readonly KubeObject[]): Map<string, number> {
  return new Map(
    pods.map((pod) => [
      pod.metadata.name!,
      (pod.status?.containerStatuses ?? []).reduce(
        (sum: number, status: any) => sum + (status.restartCount ?? 0),
        0,
      ),
    ]),
  );
}

/** Drop counters of one node's agent by reason, read from its metrics on the node itself. */
export async function readDrops(
  action: Action,
  probes: Probes,
  host: PodEndpoint,
  agent: AgentFacts,
): Promise<Map<string, number>> {
  const result = await probes.http(action, host, `http://127.0.0.1:${agent.metricsPort}/metrics`);
  action.ok(
    result.status === 200,
    `the agent on ${host.node} serves no metrics: ${result.error || result.status}`,
  );
  return parseDrops(result.body);
}

/** Sums the counters of dropped packets in Prometheus text by their `reason`. */
export function parseDrops(text: string): Map<string, number> {
  const drops = new Map<string, number>();
  for (const line of text.split("\n")) {
    const match = /^shunt_\w*drop\w*\{([^}]*)\}\s+(\S+)/.exec(line);
    const reason = /(?:^|,)reason="([^"]*)"/.exec(match?.[1] ?? "")?.[1];
    if (match === null || reason === undefined || /byte/.test(line.slice(0, line.indexOf("{")))) continue;
    drops.set(reason, (drops.get(reason) ?? 0) + Number(match[2]));
  }
  return drops;
}
