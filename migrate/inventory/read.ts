// SPDX-License-Identifier: Apache-2.0
import { ShuntError } from "../../lib/errors.ts";
import { resourcePath } from "../../lib/kube.ts";
import type { KubeObject } from "../../lib/kube-object.ts";
import type { Inventory, NodeFacts, Platform } from "../model/inventory.ts";
import { BudgetIndex } from "./budgets.ts";
import { readRanges } from "./cluster-ranges.ts";
import type { InventoryDetails } from "./details.ts";
import { detectKubeProxy } from "./kube-proxy.ts";
import { detectNetwork } from "./network/detect.ts";
import { type DaemonSet, describeDaemonSet, type Evidence } from "./network/evidence.ts";
import { deviceMtu, summarizeFacts } from "./node-facts.ts";
import { NodeTally } from "./nodes.ts";
import { type AgentPorts, PodTally } from "./pods.ts";
import { readPolicies, standardPolicy } from "./policies.ts";
import { reconcilerOf } from "./reconcilers.ts";
import { ServiceTally } from "./services.ts";
import { ClusterSource, type KubeReader } from "./source.ts";
import { NodeBoundClaims } from "./volumes.ts";
import { readWebhooks, type WebhookReading } from "./webhooks.ts";

export interface InventoryOptions {
  signal?: AbortSignal;
  /** What node tasks found inside nodes, by node name. */
  facts?: ReadonlyMap<string, NodeFacts>;
  /** Ports that the agent will use, to see who has them now. */
  ports?: AgentPorts;
  /** Objects asked for at a time. */
  pageSize?: number;
  nowMs?: number;
  /** Told what is being read. */
  report?: (progress: string) => void;
}

/** An inventory as read from a cluster, with all that preflight judges. */
export type FullInventory = Inventory & { details: InventoryDetails };

const defaultPorts: AgentPorts = { tunnelPort: 8473, healthPort: 9879, metricsPort: 9962 };

/** Reads all that a migration has to know of a cluster; changes nothing, and holds no list of it in memory. */
export async function readInventory(
  kube: KubeReader,
  options: InventoryOptions = {},
): Promise<FullInventory> {
  const source = new ClusterSource(kube, options);
  const nowMs = options.nowMs ?? Date.now();
  const report = options.report ?? (() => undefined);
  report("nodes, budgets, volumes, DaemonSets");
  const first = await readFirst(source, options);
  if (first.nodes.entries.size === 0) requireNodes(source);
  const context = { ...first, ports: options.ports ?? defaultPorts, nowMs };
  const pods = new PodTally(context);
  const services = new ServiceTally(nowMs, first.webhooks.webhooks.flatMap(serviceName));
  report("pods, Services, policies");
  const [, , , policies] = await Promise.all([
    source.each(resourcePath("v1", "pods"), (pod) => pods.add(pod)),
    source.each(resourcePath("v1", "services"), (service) => services.addService(service)),
    source.each(resourcePath("discovery.k8s.io/v1", "endpointslices"), (slice) => services.addSlice(slice)),
    readPolicies(source),
  ]);
  report("network");
  const { platform, evidence: platformEvidence } = first.nodes.platform.result();
  const evidence: Evidence = { source, daemonSets: first.daemonSets, nodes: first.nodes, platform };
  const found = await detectNetwork(evidence);
  const kubeProxy = await detectKubeProxy(evidence, pods, found.details);
  const ranges = await readRanges(kube, source, { nodes: first.nodes, pods, services });
  if (found.network.podCIDRs.length === 0) found.network.podCIDRs = ranges.podCIDRs;
  const entries = [...first.nodes.entries.values()];
  const mtu =
    found.network.mtu ??
    deviceMtu(
      entries.map((entry) => entry.node),
      found.network.device,
    );
  if (mtu !== undefined) found.network.mtu = mtu;
  const { operator, ...networkFound } = found.details;
  const details: InventoryDetails = {
    gaps: source.gaps,
    nodes: entries.map((entry) => entry.details),
    network: {
      ...networkFound,
      platformEvidence,
      reconciledBy: operator ?? reconcilerOf(setOf(first.daemonSets, found.network.daemonSet)),
      kubeProxyReconciledBy: reconcilerOf(setOf(first.daemonSets, kubeProxy.object)),
      serviceCIDRsEstimated: ranges.estimated,
      ...summarizeFacts(entries.map((entry) => entry.node)),
    },
    services: services.result(),
    policies,
    budgets: [...first.budgets.concerns().values()],
    webhooks: webhookDetails(first.webhooks, services),
    pods: pods.details,
  };
  return {
    version: 1,
    takenAt: new Date(nowMs).toISOString(),
    server: kube.server,
    ...(await readIdentity(source, platform)),
    nodes: entries.map((entry) => entry.node).sort((a, b) => (a.name < b.name ? -1 : 1)),
    network: found.network,
    kubeProxy,
    serviceCIDRs: ranges.serviceCIDRs,
    counts: {
      nodes: entries.length,
      pods: pods.count,
      ...services.counts,
      networkPolicies: policies.kinds[standardPolicy] ?? 0,
      otherPolicies: Object.fromEntries(
        Object.entries(policies.kinds).filter(([kind]) => kind !== standardPolicy),
      ),
      podDisruptionBudgets: first.budgets.count,
    },
    drain: pods.workloads.result(first.budgets.concerns()),
    webhooks: first.webhooks.webhooks,
    ...(await readAgent(source)),
    details,
  };
}

/** What must be known before the first pod is looked at. */
async function readFirst(source: ClusterSource, { facts }: InventoryOptions) {
  const nodes = new NodeTally();
  const budgets = new BudgetIndex();
  const claims = new NodeBoundClaims();
  const daemonSets: DaemonSet[] = [];
  const [webhooks] = await Promise.all([
    readWebhooks(source),
    source.each(resourcePath("v1", "nodes"), (node) => nodes.add(node, facts?.get(node.metadata.name ?? ""))),
    source.each(resourcePath("policy/v1", "poddisruptionbudgets"), (budget) => budgets.add(budget)),
    source.each(resourcePath("v1", "persistentvolumes"), (volume) => claims.add(volume)),
    source.each(resourcePath("apps/v1", "daemonsets"), (set) => daemonSets.push(describeDaemonSet(set))),
  ]);
  return { webhooks, nodes, budgets, claims, daemonSets };
}

function requireNodes({ gaps }: ClusterSource): void {
  const denied = gaps.find(({ resource }) => resource === "/api/v1/nodes");
  throw new ShuntError(
    denied === undefined ? "The cluster has no node" : `Cannot read the nodes: ${denied.reason}`,
    {
      code: denied === undefined ? "NoNodes" : "Forbidden",
      remedy:
        denied === undefined
          ? "Check that --context names the right cluster."
          : "Use a kubeconfig context that may list nodes, pods, Services and the like: ClusterRole view is not enough.",
    },
  );
}

const serviceName = ({ service }: { service?: { namespace?: string; name: string } }): string[] =>
  service === undefined ? [] : [`${service.namespace}/${service.name}`];

function webhookDetails({ webhooks, details }: WebhookReading, services: ServiceTally) {
  return details.map((entry, index) => {
    const [name] = serviceName(webhooks[index]!);
    const found = name === undefined ? undefined : services.watched.get(name);
    return found === undefined
      ? entry
      : { ...entry, serviceExists: found.exists, readyEndpoints: found.readyEndpoints };
  });
}

const setOf = (
  sets: DaemonSet[],
  ref: { namespace?: string; name: string } | undefined,
): KubeObject | undefined =>
  sets.find((set) => set.ref.name === ref?.name && set.ref.namespace === ref?.namespace)?.object;

async function readIdentity(source: ClusterSource, platform: Platform) {
  const system = await source.find(resourcePath("v1", "namespaces", undefined, "kube-system"));
  const version = await source.find("/version");
  return {
    clusterUid: system?.metadata.uid ?? "",
    platform,
    serverVersion: String(version?.gitVersion ?? ""),
  };
}

async function readAgent(source: ClusterSource): Promise<Pick<Inventory, "agent">> {
  const record = await source.find(resourcePath("v1", "configmaps", "kube-system", "shunt-install"));
  if (record === undefined) return {};
  try {
    const { version, values } = JSON.parse(record.data?.["record.json"] ?? "");
    const { podNetwork = "", services = "" } = values?.modes ?? {};
    return { agent: { version: String(version), podNetwork, services } };
  } catch {
    return { agent: { version: "unknown", podNetwork: "unknown", services: "unknown" } };
  }
}
